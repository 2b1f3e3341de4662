"""Formats of names, keys and paths. Each function returns "" or what is wrong, to follow the value itself.

Source: k8s.io/apimachinery/pkg/util/validation and k8s.io/kubernetes/pkg/apis/core/validation.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

MOST_UID = 2**31 - 1

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_SEARCH = re.compile(r"[a-z0-9_](?:[-a-z0-9_]*[a-z0-9_])?(?:\.[a-z0-9_](?:[-a-z0-9_]*[a-z0-9_])?)*")
_QUALIFIED = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_NAME = re.compile(r"[-a-z0-9]+")
_ENV = re.compile(r"[ -<>-~]+")
_SYSCTL = re.compile(r"[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?(?:[./][a-z0-9](?:[-_a-z0-9]*[a-z0-9])?)*")
_HEADER = re.compile(r"[-A-Za-z0-9]+")
_PERCENT = re.compile(r"[0-9]+%")


def _meant(value: str, rule: re.Pattern[str], longest: int) -> str:
    """'; did you mean "my-name"?' when a small change makes it right."""
    if re.search(r"[$<{]", value):
        return "; is it a placeholder that was to be filled in?"
    mended = re.sub(r"[^a-z0-9.-]+", "-", value.lower()).strip("-.")
    if rule is _LABEL:
        mended = mended.replace(".", "-")
    return f'; did you mean "{mended}"?' if len(mended) <= longest and rule.fullmatch(mended) else ""


def label(value: str) -> str:
    """A DNS label: names of containers, volumes, namespaces, hosts."""
    if len(value) > 63:
        return f"has {len(value)} characters, and at most 63 are allowed"
    if _LABEL.fullmatch(value):
        return ""
    return "must consist of lower case letters, digits and '-', and begin and end with a letter or digit" + _meant(
        value, _LABEL, 63
    )


def subdomain(value: str) -> str:
    """A DNS subdomain: names of most objects."""
    if len(value) > 253:
        return f"has {len(value)} characters, and at most 253 are allowed"
    if _SUBDOMAIN.fullmatch(value):
        return ""
    return "must consist of lower case letters, digits, '-' and '.', and begin and end with a letter or digit" + _meant(
        value, _SUBDOMAIN, 253
    )


def search_domain(value: str) -> str:
    """A search path of resolv.conf, where '_' and a final dot are allowed."""
    if value == "." or (len(value) <= 254 and _SEARCH.fullmatch(value.removesuffix("."))):
        return ""
    return "is not a domain name"


def qualified(key: str) -> str:
    """`[prefix/]name`: keys of labels and annotations, names of resources and finalizers."""
    prefix, slash, name = key.rpartition("/")
    if slash and (fault := "is empty" if not prefix else subdomain(prefix)):
        return f"has a prefix before '/' that {fault}"
    if not name:
        return "is no key: a name must stand there" if not slash else "needs a name after '/'"
    if len(name) > 63:
        return "is too long: the name of a key has at most 63 characters"
    if not _QUALIFIED.fullmatch(name):
        return "is no key: letters, digits, '-', '_' and '.' are allowed, beginning and ending with a letter or digit"
    return ""


def label_value(value: str) -> str:
    if len(value) > 63:
        return f"has {len(value)} characters, and a label's value at most 63"
    if not value or _QUALIFIED.fullmatch(value):
        return ""
    return (
        "is no label value: letters, digits, '-', '_' and '.' are allowed, beginning and ending with a letter or digit"
    )


def config_key(key: str) -> str:
    """Keys of ConfigMaps and Secrets, which become the names of files."""
    if len(key) > 253:
        return "is too long: a key has at most 253 characters"
    if not _CONFIG_KEY.fullmatch(key):
        return "is no key: letters, digits, '-', '_' and '.' are allowed"
    if key in (".", "..") or key.startswith(".."):
        return "is no key: it must not begin with '..' or be '.'"
    return ""


def env_name(name: str) -> str:
    return "" if _ENV.fullmatch(name) else "is no name of a variable: printable ASCII without '=' is allowed"


def port_name(name: str) -> str:
    if len(name) > 15:
        return f"has {len(name)} characters, and the name of a port at most 15"
    if not _PORT_NAME.fullmatch(name):
        return "must consist of lower case letters, digits and '-'"
    if not re.search("[a-z]", name):
        return "must have at least one letter"
    if name.startswith("-") or name.endswith("-") or "--" in name:
        return "must not begin or end with '-', or have two in a row"
    return ""


def ip(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        return "is not an IP address"
    return ""


def absolute(path: str) -> str:
    return "" if path.startswith("/") else "must be an absolute path, beginning with '/'"


def no_dot_dot(path: str) -> str:
    return "must not contain '..'" if ".." in path.split("/") else ""


def local(path: str) -> str:
    """A path inside a volume."""
    if path.startswith("/"):
        return "must be a relative path, not beginning with '/'"
    return no_dot_dot(path)


def local_not_dotted(path: str) -> str:
    """A path inside a volume of files, whose own bookkeeping begins with '..'."""
    return local(path) or ("must not begin with '..'" if path.startswith("..") else "")


def sysctl(name: str) -> str:
    return (
        ""
        if len(name) <= 253 and _SYSCTL.fullmatch(name)
        else "is not the name of a sysctl, such as net.core.somaxconn"
    )


def header(name: str) -> str:
    return "" if _HEADER.fullmatch(name) else "is not the name of an HTTP header: letters, digits and '-' are allowed"


def percent(value: str) -> str:
    return "" if _PERCENT.fullmatch(value) else 'must be a number, or a percentage such as "25%"'
