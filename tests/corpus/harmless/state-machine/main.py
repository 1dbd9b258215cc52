import enum
from dataclasses import dataclass, replace


class State(enum.Enum):
    DRAFT = "draft"
    SENT = "sent"
    PAID = "paid"


@dataclass(frozen=True)
class Document:
    number: str
    state: State = State.DRAFT

    def moved(self, to):
        allowed = {State.DRAFT: {State.SENT}, State.SENT: {State.PAID}, State.PAID: set()}
        if to not in allowed[self.state]:
            raise ValueError(f"{self.state.value} does not become {to.value}")
        return replace(self, state=to)


def move(input, context):
    document = Document(input["number"], State(input["state"])).moved(State(input["to"]))
    return {"number": document.number, "state": document.state.value}
