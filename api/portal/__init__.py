"""Pages for people: each asks the API's own questions, and shows what they answer."""
