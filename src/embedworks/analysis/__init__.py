"""What vectors can and cannot say: how central a text is, how two collections differ, where a dimension is the limit.

Comes in: vectors [n, d], or relevance judgements. Goes out: scores, tests with both p-values, bounds. Start reading at
the file named after the question.
"""
