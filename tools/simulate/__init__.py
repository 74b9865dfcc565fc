"""Made-up strips that look real enough to run the whole payload on."""
