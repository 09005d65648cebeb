"""What a report asks of a model: for each topic its question, its words and its first numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """What one section of a report is about.

    Args:
        title: Of the section.
        question: That it answers; "": the title.
        short: The same in a word or two, for tables; "": the title.
        good, bad: What a good and a bad flag say to the short question; "": the flag itself.
        headlines: The numbers that a person needs first, as patterns of their names; where none
            is there, the first three numbers are.
        place: On the page: topics with lower ones come first.
        always: Whether a report has a line for it where it was not asked.
        measured: Whether its protocol is one that all such sections share; no: it has its own.
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
        """To the short question."""
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
        "fd/[^/]+(?<!_independent)(?<!_infinity)(?<!_per_class)",  # and its held-out row
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
    """The topic of a section that names none."""
    return KNOWN.get(title) or Topic(title)
