"""Where a bank is, as workers on other machines find it: an address without its password."""

from __future__ import annotations

import os
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..bank.sample_bank import SampleBank
from ..errors import ConfigurationError

#: In the names of variables that hold passwords.
_PASSWORDS = ("PASS", "PWD", "SECRET")
#: The last part of the names of those that hold none: USER, PGUSER, LOGNAME, POSTGRES_DB.
_NO_PASSWORDS = ("USER", "NAME", "DATABASE", "DB", "HOST", "HOME")


@dataclass(frozen=True)
class Place:
    """A bank's address.

    Attributes:
        url: a path, or a URL without passwords.
        password: the environment variable that holds the URL's password, alone or in a URL; None
            where it has none.
    """

    url: str
    password: str | None = None

    @classmethod
    def of(cls, bank: SampleBank) -> Place:
        """Return a bank's address.

        Raises:
            ConfigurationError: its password is in no environment variable.
        """
        if bank.path is not None:
            return cls(str(bank.path.absolute()))
        url = bank.database.url
        if any("pass" in name.lower() for name in url.query):
            raise ConfigurationError(
                f"The URL of the bank {bank.name} holds a password in its query, which may not "
                "travel to a cluster's machines: leave it out, and set PGPASSWORD on all of them."
            )
        variable = None
        if url.password is not None:
            variable = _variable_with(url.password)
            if variable is None:
                raise ConfigurationError(
                    f"The password of the bank {bank.name} is in no environment variable, and may "
                    "not travel to a cluster's machines: leave it out of the URL, and set "
                    "PGPASSWORD on all of them."
                )
        return cls(url._replace(password=None).render_as_string(hide_password=False), variable)

    def bank(self) -> SampleBank:
        """Open the bank, on a worker.

        Raises:
            ConfigurationError: the password's variable is not set here.
        """
        if self.password is None:
            return SampleBank(self.url)
        value = os.environ.get(self.password)
        password = None if value is None else _password_in(value)
        if password is None:
            raise ConfigurationError(
                f"The environment variable {self.password}, which holds the bank's password, is "
                "not set on every machine of the cluster: set it before Ray starts there."
            )
        url = sa.make_url(self.url).set(password=password)
        return SampleBank(url.render_as_string(hide_password=False))


def _variable_with(password: str) -> str | None:
    """Return the environment variable that holds a password, alone or in a URL; None for none.

    A simple password may be the value of others too, which differ from machine to machine.
    """
    holding = [
        name
        for name, value in list(os.environ.items())
        if password in value and _password_in(value) == password
    ]
    likely = {name: _likelihood(name, os.environ.get(name, "")) for name in holding}
    found = max(likely, key=likely.__getitem__, default=None)
    return found if found is not None and likely[found] else None


def _likelihood(name: str, value: str) -> int:
    """Return how surely a variable is meant to hold the password; 0 where it is not."""
    upper = name.upper()
    if upper == "PGPASSWORD":
        return 4
    if any(part in upper for part in _PASSWORDS):
        return 3
    if "://" in value:
        return 2
    return 0 if upper.endswith(_NO_PASSWORDS) else 1


def _password_in(value: str) -> str | None:
    """Return a variable's value, or the password in it where that is a URL."""
    if "://" not in value:
        return value
    try:
        return sa.make_url(value).password
    except (SQLAlchemyError, ValueError):
        return None
