"""What the reasons of ledgers and quarantines mean, in a sentence each.

A reason is a word, and of rows that could not be read what was found after a colon:
`image_too_large: 9000x9000 > 64000000`. `*` stands for what differs from case to case.
Steps of other packages say theirs in `Step.reasons`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

#: For each kind of step, in the order of a ledger's life: why it keeps or drops a row.
DECISIONS: Mapping[str, Mapping[str, str]] = {
    "exact": {
        "unique": "No earlier row has the same bytes, pixels or caption.",
        "duplicate_image_bytes": "The image file is that of the kept twin.",
        "duplicate_image_pixels": "The decoded image is that of the kept twin.",
        "duplicate_caption": "The caption is that of the kept twin.",
    },
    "decontaminate": {
        "not_in_evaluation": "Near no item of the evaluation sets.",
        "contaminated_image_vectors": "Its image is within max_distance of an "
        "evaluation item's.",
        "contaminated_perceptual_hash": "Its image, or a crop, has nearly the hash of "
        "an evaluation item's.",
        "contaminated_captions": "Its caption is nearly an evaluation item's.",
    },
    "overlap": {
        "shares_nothing": "No passage of the test sets stands in the text.",
        "shares_*_words": "As many words in a row stand in a test set, too.",
        "shares_*_characters": "As many characters in a row stand in a test set, too.",
    },
    "rules": {
        "rules_passed": "No rule that is on is broken.",
        "too_few_words": "The caption has less than min_words words.",
        "too_few_chars": "The caption has less than min_chars characters.",
        "too_many_words": "The caption has more than max_words words.",
        "too_many_chars": "The caption has more than max_chars characters.",
        "unknown_size": "The image's size is not known, so min_side and max_aspect "
        "cannot be met.",
        "too_small": "The shorter side has less than min_side pixels.",
        "too_elongated": "The longer side is more than max_aspect times the shorter.",
        "unknown_language": "No language was found in the caption.",
        "other_language": "The caption is in none of the languages asked for.",
    },
    "quality": {
        "rules_passed": "No rule of the sets asked for is broken.",
        "gopher_too_few_words": "Less than min_words words, or none.",
        "gopher_too_many_words": "More than max_words words.",
        "gopher_short_words": "The words are too short on average.",
        "gopher_long_words": "The words are too long on average.",
        "gopher_hashes": "Too many hash signs for the number of words.",
        "gopher_ellipses": "Too many ellipses for the number of words.",
        "gopher_bullet_lines": "Too many lines begin with a bullet.",
        "gopher_ellipsis_lines": "Too many lines end in an ellipsis.",
        "gopher_not_alphabetic": "Too few words have a letter.",
        "gopher_no_stop_words": "Too few of English's most frequent words.",
        "gopher_repeated_*s": "Too large a share of paragraphs, lines or n-grams "
        "stands there more than once.",
        "gopher_repeated_*_chars": "Repeated paragraphs or lines hold too many of the "
        "characters.",
        "gopher_top_*_gram": "The most frequent n-gram holds too many of the "
        "characters.",
        "fineweb_unended_lines": "Too few lines end in a mark that ends a sentence.",
        "fineweb_short_lines": "Too many lines are short.",
        "fineweb_repeated_lines": "Repeated lines hold too many of the characters.",
        "fineweb_newlines": "Too many line breaks for the number of words.",
    },
    "minhash": {
        "unique": "No earlier kept text is as similar as the threshold.",
        "no_text": "No text, or none but marks: it is compared with nothing, and kept.",
        "too_few_shingles": "Less than min_shingles shingles: compared with nothing, "
        "and kept.",
        "near_duplicate_text": "The exact Jaccard similarity to the kept twin reaches "
        "the threshold.",
        "equal_after_normalisation": "Another text than the kept twin's as it stands; "
        "the same after normalisation.",
        "shared_band_unverified": "A band of the sketch is the kept twin's; with "
        "`verify: false` nothing more was asked.",
        "near_duplicate_in_index": "The exact similarity to a row of the index reaches "
        "the threshold.",
        "equal_in_index_after_normalisation": "After normalisation the text of a row "
        "of the index.",
    },
    "lines": {
        "nothing_repeated": "No line of it stands in as many texts as min_texts.",
        "repeated_passages": "Lines of it stand in other texts, too.",
        "passages_cut": "Kept without the lines that stand elsewhere.",
        "nothing_left": "Every line of it stands elsewhere.",
    },
    "substring": {
        "nothing_repeated": "No passage of min_bytes stands anywhere else.",
        "repeated_passages": "Passages of at least min_bytes stand elsewhere, too.",
        "passages_cut": "Kept without the passages that stand elsewhere.",
        "nothing_left": "All of it stands elsewhere.",
    },
    "image_quality": {
        "no_issue": "None of the issues asked for.",
        "dark": "Even its brightest parts are dark.",
        "light": "Even its darkest parts are light.",
        "low_information": "Too little entropy: large parts are alike.",
        "blurry": "Few sharp edges.",
        "odd_aspect_ratio": "Far longer one way than the other.",
        "odd_size": "Its size is far from the pool's.",
        "grayscale": "It has no colour.",
    },
    "perceptual_hash": {
        "unique": "No earlier picture's hash differs in as few bits.",
        "near_copy": "Its hash differs from the kept twin's in at most max_bits bits.",
    },
    "semantic": {
        "unique": "No earlier row is within epsilon.",
        "semantic_duplicate": "The cosine to the kept twin is above 1 - epsilon.",
        "semantic_duplicate_in_index": "The cosine to a row of the index, which is the "
        "twin, is above 1 - epsilon.",
        "semantic_duplicate_of_dropped": "The row that it is like has gone itself; it "
        "is within epsilon of that one.",
        "unique_among_kept": "An earlier row is within epsilon, but went itself: none "
        "of the kept ones is.",
    },
    "prototypes": {
        "prototype_hard": "Among the farthest from their centroid, which are kept.",
        "prototype_not_hard": "Nearer to its centroid than the rows kept.",
        "prototype_easy": "Among the nearest to their centroid, which are kept.",
        "prototype_not_easy": "Farther from its centroid than the rows kept.",
        "prototype_balance": "Kept for its cluster's least number, `balance`.",
    },
    "complexity": {
        "within_cluster_quota": "Within the number of rows that its cluster's "
        "complexity earns.",
        "over_cluster_quota": "Its cluster's complexity earns fewer rows.",
    },
    "score": {
        "aligned": "Its score is within the budget, or reaches the threshold.",
        "low_alignment": "Its score is below the cut.",
        "score_nan": "It has no score.",
        "reserved_by_balance": "Kept for its cluster's or value's least number.",
    },
    "soft_cap": {
        "drawn": "Drawn at least once; `repeats/` says how often.",
        "not_drawn": "Never drawn.",
        "score_missing": "It has no score to be drawn by.",
    },
    "random": {
        "drawn": "Among the lowest hashes of uids.",
        "not_drawn": "Not among the lowest hashes of uids.",
    },
    "uniform": {
        "drawn": "Drawn for its cluster's equal part.",
        "not_drawn": "Its cluster's equal part was full.",
    },
    "balance": {
        "within_concept_limit": "One of its concepts keeps it: it is among the first "
        "rows by hash.",
        "over_concept_limit": "Each of its concepts keeps other rows.",
        "no_concept": "Its caption has no concept of the list.",
    },
    "hierarchy": {
        "within_share": "Within what its cluster's share of the budget keeps.",
        "over_share": "Its cluster's share of the budget was full.",
    },
    "order": {
        "chosen": "Chosen before the budget was used up.",
        "not_chosen": "The rows chosen before it represent it.",
    },
    "outliers": {
        "like_its_neighbours": "Its mean cosine to its nearest neighbours is within "
        "the budget, or reaches the threshold.",
        "outlier": "Its mean cosine to its nearest neighbours is below the cut.",
        "no_neighbour": "Nothing is there to compare it with.",
    },
    "where": {
        "where_true": "The condition holds.",
        "where_false": "The condition does not hold.",
        "where_unknown": "The condition gives null: a column of it is missing here.",
    },
    "top": {
        "top": "Among the highest (or lowest) values of the column.",
        "not_top": "Beyond the budget or the threshold.",
        "score_missing": "The column is null or not a number here.",
    },
    "target_clusters": {
        "in_target_cluster": "Its nearest centroid is near an image of the target.",
        "in_no_target_cluster": "No image of the target is near its centroid.",
    },
    "synsets": {
        "names_a_synset": "A word of the caption names a synset of the list.",
        "names_no_synset": "No word of the caption names a synset of the list.",
    },
    "custom": {
        "custom_passed": "Your function keeps it.",
        "custom_rejected": "Your function does not keep it.",
    },
    "overrides": {
        "override_rescue": "Your file of overrides keeps it, whatever steps said.",
        "override_drop": "Your file of overrides drops it.",
        "not_overridden": "Your file of overrides does not name it.",
    },
}

#: Why a row lies in the quarantine: it could not be read or judged, and is no decision.
QUARANTINE: Mapping[str, str] = {
    "uid_missing": "The row has no uid, or an empty one.",
    "duplicate_uid": "An earlier row of the pool has this uid.",
    "text_not_utf8": "The text's bytes are not UTF-8.",
    "image_missing": "The row has no image.",
    "image_empty": "The image has no bytes.",
    "image_truncated": "The image ends before it is whole.",
    "image_undecodable": "The image cannot be decoded; the format or cause follows.",
    "image_too_large": "More pixels than `max_pixels`, found before decoding.",
    "image_size_missing": "No column holds the size that a rule asks for.",
    "image_path_not_utf8": "The path of the image is not UTF-8.",
    "image_path_outside_pool": "The path of the image leads out of the pool.",
    "image_file_unreadable": "The image file cannot be read; the cause follows.",
    "caption_missing": "The row has no caption.",
    "masks_malformed": "The boxes of the mask are none.",
    "vector_missing": "No vector is there for the row.",
    "vector_length": "The vector has another length than the others.",
    "vector_not_finite": "The vector holds NaN or infinity.",
    "vector_zero": "The vector is zero and has no direction.",
    "score_nan": "The function gave NaN.",
    "not_scored": "The function gave no answer for the row.",
    "unreadable_file": "The whole file cannot be read.",
    "unreadable_row_group": "The row group of the Parquet file cannot be read.",
    "unreadable_tar": "The tar file cannot be read from here on.",
    "broken_line": "The line is not JSON.",
    "broken_record": "The record of the CSV file is not closed or not text.",
    "ragged_row": "The record has more or fewer fields than the header.",
    "broken_sidecar": "The file beside the image cannot be read.",
    "broken_member": "The member of the tar cannot be read.",
    "not_downloaded": "img2dataset could not fetch it; its own words follow.",
    "tar_member_name_not_utf8": "The member's name is not UTF-8.",
    "tar_member_not_a_file": "The member is a link, a folder or a device.",
    "tar_member_outside": "The member's name leads out of the tar.",
    "tar_member_too_large": "The member has 2 GiB or more.",
}


def meaning(reason: str, told: Mapping[str, str]) -> str | None:
    """Return the sentence for a reason, or None if nobody has written one.

    reason: as ledger or quarantine have it, with what follows the colon.
    told: sentences by reason, `DECISIONS[kind]` or `QUARANTINE`.

    >>> meaning("image_too_large: 9000x9000 > 64000000", QUARANTINE)
    'More pixels than `max_pixels`, found before decoding.'
    """
    word = reason.partition(":")[0]
    if word in told:
        return told[word]
    return next((said for key, said in told.items() if fnmatchcase(word, key)), None)
