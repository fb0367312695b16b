"""From the text of a post to words that can be compared: normalize, phrases, language."""
