"""The filter product: data filtering networks trained, judged and told."""
