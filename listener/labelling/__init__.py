"""The analyst's loop: which posts to ask a person about, the answers kept, exchanged, compared, and what choosing is worth."""
