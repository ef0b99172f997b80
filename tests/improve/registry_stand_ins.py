"""A list of answers as the reader of a cycle."""


class AnswerList:
    """A reader of collected answers from a list (implements `CollectedAnswerReader`)."""

    def __init__(self, answers=()):
        self.list = list(answers)

    def answers(self, model=None, *, since=0.0):
        return iter(self.list)

    def count(self, model=None, *, since=0.0):
        given = ([entry.created for entry in (*answer.ratings, *answer.preferred)] for answer in self.list)
        return sum(max(times) > since for times in given)

    def contributors(self):
        return sorted({person for answer in self.list for person in answer.contributors})
