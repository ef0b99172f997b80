"""Who uses a store or a route, and what they may reach.

| role | may |
| --- | --- |
| user | use the models, and reach records of its own key |
| agent | the same, and answer hand-offs of all conversations |
| admin | everything but documents that other keys uploaded; also the records of all owners and those without an owner |
"""

from dataclasses import dataclass
from typing import Literal, get_args

KeyRole = Literal["user", "agent", "admin"]
KEY_ROLES: tuple[KeyRole, ...] = get_args(KeyRole)  # each may do what those before it may


def has_role(role: KeyRole, required: KeyRole) -> bool:
    """True if `role` may do what `required` may."""
    return KEY_ROLES.index(role) >= KEY_ROLES.index(required)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    Attributes:
        owner: name of the API key, and owner of the records that it creates. None: they have no owner.
        role: what it may do.
    """

    owner: str | None
    role: KeyRole

    @property
    def is_admin(self) -> bool:
        """True if records of all owners are visible."""
        return self.role == "admin"

    @property
    def answers_handoffs(self) -> bool:
        """True if the hand-offs of all conversations are visible."""
        return has_role(self.role, "agent")


UNRESTRICTED = Principal(None, "admin")  # a program on this machine, or a server without API keys
NOBODY = Principal("", "user")  # reaches no record: no key has this name
