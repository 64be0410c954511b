"""Pictures of mouths for the judge of pictures: cut once, covered and spoilt at each step."""
