"""Callers that are programs: their sound as it comes, at a face's own pace, and what of it has been shown."""
