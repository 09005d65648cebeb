"""Topics of a report: the question of each, its short answers and its headlines."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """The topic of a section of a report.

    Args:
        title: Title of the section.
        question: Question that the section answers; "": the title.
        short: The question in a word or two, for tables; "": the title.
        good, bad: Answers to the short question for a good and a bad flag; "": the flag itself.
        headlines: The most important numbers, as patterns of their names; if no name matches, the
            first three numbers are used.
        place: Place on the page: topics are sorted by it.
        always: Whether a report without this section has a line for it.
        measured: Whether its protocol is compared with those of other sections, to find the part
            that they share.
    """

    title: str
    question: str = ""
    short: str = ""
    good: str = ""
    bad: str = ""
    headlines: tuple[str, ...] = ()
    place: int = 99
    always: bool = False
    measured: bool = True

    def answer(self, flag: str) -> str:
        """The answer of a flag to the short question.

        >>> REALISM.answer("good")
        'yes'
        """
        return {"good": self.good, "bad": self.bad}.get(flag) or flag


MEMORISATION = Topic(
    "memorisation",
    "Has it memorised?",
    "memorised?",
    "no",
    "yes",
    ("leaked|copied(/pixels)?|asymmetry|planted/(unchanged|rotated)",),
    0,
    always=True,
)
REALISM = Topic(
    "realism",
    "Does it look real?",
    "real?",
    "yes",
    "no",
    (
        "way_to_real",
        "fd/[^/]+(?<!_independent)(?<!_infinity)(?<!_per_class)",  # includes fd/..._held_out
        "(fid|fid_clean|fd_dinov2|cmmd)(_held_out)?",
        "precision|recall",
    ),
    1,
    always=True,
)
DIVERSITY = Topic(
    "diversity",
    "Is it as diverse as the data?",
    "diverse?",
    "yes",
    "no",
    ("(recall|coverage|vendi|vendi_within)_ratio", "closest_pair/pixels", "classes"),
    2,
    always=True,
)
LIKELIHOOD = Topic(
    "likelihood",
    "How well does it predict unseen data?",
    "predicts unseen data?",
    "well",
    "badly",
    ("nats|elbo|nats/ais", "bits_per_dim(/gap|/independent)?", "nats/gap"),
    3,
)
HUMAN = Topic(
    "human evaluation",
    "Can people tell?",
    "can people tell?",
    "no",
    "yes",
    ("human/(error_rate|accuracy|raters)",),
    4,
    measured=False,
)
KNOWN = {topic.title: topic for topic in (MEMORISATION, REALISM, DIVERSITY, LIKELIHOOD, HUMAN)}


def topic_of(title: str) -> Topic:
    """The topic of a title; an unknown title gets a topic of its own."""
    return KNOWN.get(title) or Topic(title)
