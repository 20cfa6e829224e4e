"""Amazon SES over HTTPS (API version 2), with the extra ``ses``."""
