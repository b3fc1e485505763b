"""Text out of text in, held against files that are reviewed as code."""
