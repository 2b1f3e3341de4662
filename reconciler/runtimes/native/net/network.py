"""The network of one instance: a bridge, and for every sandbox a namespace with one veth to it.

All that it makes is found again by name (names.py), so every method is idempotent and safe
after a kill at any instruction. What sandboxes share heals in `ensure`; what belongs to one
sandbox is only reported by `observe`, since the pod has to be rebuilt.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import ParamSpec, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from reconciler.errors import HostError, TransientError
from reconciler.plan.addresses import gateway_of
from reconciler.runtimes.native.net import bridge, flows, netns, passage, rtnetlink, ruleset
from reconciler.runtimes.native.net.firewall import Firewall
from reconciler.runtimes.native.net.names import Names

P = ParamSpec("P")
R = TypeVar("R")

_INSIDE = "eth0"
_NAMESPACE_SYSCTLS = (
    ("ipv6/conf/default/disable_ipv6", "1"),  # before eth0 is born: no duplicate address detection
    # what Docker and containerd give every container: ping without a capability, low ports without root
    ("ipv4/ping_group_range", "0 2147483647"),
    ("ipv4/ip_unprivileged_port_start", "0"),
)


class Network:
    """`instance` is 8 hexadecimal digits; namespaces are pinned under `run_dir`."""

    def __init__(self, instance: str, run_dir: Path, pod_cidr: IPv4Network) -> None:
        self.pod_cidr = pod_cidr
        self.gateway = gateway_of(pod_cidr)
        self._names = Names(instance)
        self._pins = run_dir / "netns"
        self._mtu = 0  # not asked yet
        self._firewall = Firewall(self._names.table)
        self._published: ruleset.Published | None = None  # None: not told yet, what is there stays
        self._in_force: ruleset.Published | None = None  # only for the rules' thread
        self._passed_at = -1
        self._leaving: deque[str] = deque()
        # one thread makes and one removes: removal waits in the kernel, and nothing else should
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="net-make")
        self._remover = ThreadPoolExecutor(1, thread_name_prefix="net-remove")
        self._rules = ThreadPoolExecutor(1, thread_name_prefix="net-rules")
        self._sockets = threading.local()
        self._observing = threading.Lock()
        self._observer: rtnetlink.Socket | None = None

    def netns_path(self, sandbox_id: str) -> Path:
        """Where the sandbox's namespace is pinned, whether it is or not."""
        return self._pins / sandbox_id

    async def ensure(self) -> None:
        """Put right what sandboxes share: bridge, forwarding, our rules. Idempotent, and cheap when all is well.

        Raises: HostError (not root, no nft), TransientError.
        """
        await self._in(self._maker, self._ensure_bridge)
        await self._in(self._rules, self._ensure_rules)

    async def attach(self, sandbox_id: str, address: IPv4Address) -> None:
        """Make the sandbox's network, or put right what there is of it. Idempotent.

        Raises: HostError, TransientError(reason="FailedCreatePodSandBox").
        """
        await self._in(self._maker, self._attach, sandbox_id, address)

    async def detach(self, sandbox_id: str) -> None:
        """Remove the sandbox's network. Idempotent. Raises: TransientError(reason="FailedKillPod")."""
        self._leaving.append(sandbox_id)
        await self._in(self._remover, self._remove_leaving)

    def observe(self) -> Mapping[str, str]:
        """Sandbox id -> what is wrong with its network, "" for nothing.

        A sandbox that is not in it has no network. Raises: TransientError.
        """
        with self._observing, _border("cannot look at links", "Unavailable"):
            if self._observer is None:
                self._observer = rtnetlink.Socket()
            pins = self._pinned()  # before links: one that is attached meanwhile has its link
            ours = self._observer.link(self._names.bridge)
            ports = {link.name: link for link in self._observer.links(master=ours.ifindex)} if ours else {}
            return {
                pin: self._fault(self._observer, f"{self._pins}/{pin}", ports.get(self._names.link(pin)))
                for pin in pins
            }

    async def publish(self, published: ruleset.Published) -> None:
        """Make these host ports, and no others, lead into pods. Calls that pile up become one transaction.

        Raises: HostError (no nft), TransientError(reason="RulesetRejected").
        """
        self._published = dict(published)
        await self._in(self._rules, self._replace_rules)

    def table_intact(self) -> bool:
        """Whether our rules are as we wrote them; a few microseconds unless anybody changed any rule."""
        with _border("cannot look at rules", "Unavailable"):
            return self._firewall.intact()

    async def sweep(self, keep: Set[str]) -> None:
        """Remove links and namespaces of this instance but for those sandboxes. Raises: TransientError."""
        await self._in(self._remover, self._sweep, frozenset(keep))

    async def remove(self) -> None:
        """Remove everything of this instance, also the bridge and our rules. Raises: HostError, TransientError."""
        await self._in(self._remover, self._sweep, frozenset[str]())
        await self._in(self._maker, self._remove_bridge)
        await self._in(self._rules, self._remove_rules)

    async def aclose(self) -> None:
        """Let go of threads and sockets; what was made stays."""
        await self._in(self._maker, self._close_sockets)
        await self._in(self._remover, self._close_sockets)
        for pool in (self._maker, self._remover, self._rules):
            pool.shutdown()
        self._firewall.close()
        with self._observing:
            if self._observer is not None:
                self._observer.close()
                self._observer = None

    # in the maker's thread

    def _ensure_bridge(self) -> None:
        with _border("cannot make the bridge", "NetworkUnavailable"):
            self._pins.mkdir(parents=True, exist_ok=True)
            ours = self._socket().link(self._names.bridge)
            stands = (
                ours is not None
                and ours.flags & rtnetlink.UP
                and self.gateway in self._socket().addresses(ours.ifindex)
            )
            if not (stands and self._mtu):
                with IPRoute() as ip:
                    self._mtu = bridge.default_mtu(ip)
                    address = IPv4Interface((self.gateway, self.pod_cidr.prefixlen))
                    bridge.ensure_bridge(ip, self._names.bridge, address, self._mtu)
            ours = self._bridge()
            bridge.ensure_forwarding(ours.name)
            for link in self._socket().links(kind="veth"):
                if link.name.startswith(self._names.link_prefix) and not (
                    link.master == ours.ifindex and link.flags & rtnetlink.UP
                ):
                    self._socket().request(
                        rtnetlink.set_port(link.name, ours.ifindex),
                        rtnetlink.set_hairpin(link.name),
                        rtnetlink.set_up(link.name),
                    )

    def _attach(self, sandbox_id: str, address: IPv4Address) -> None:
        path = self.netns_path(sandbox_id)
        with _border(f"cannot make the network of sandbox {sandbox_id}", "FailedCreatePodSandBox"):
            pinned = netns.is_pinned(path)
            if pinned and self.observe().get(sandbox_id) == "":
                return
            here = self._socket()
            ours = here.link(self._names.bridge) if self._mtu else None
            if ours is None:
                self._ensure_bridge()
                ours = self._bridge()
            with netns.entered(path if pinned else None) as namespace:
                if not pinned:
                    netns.pin(path)
                for name, value in _NAMESPACE_SYSCTLS:
                    bridge.write_sysctl(name, value)
                with rtnetlink.Socket() as inside:
                    name = self._names.link(sandbox_id)
                    veth = rtnetlink.create_veth(
                        name,
                        mtu=self._mtu,
                        bridge=ours.ifindex,
                        peer=_INSIDE,
                        peer_namespace=namespace,
                        peer_mac=bytes.fromhex(bridge.mac_of(address).replace(":", "")),
                    )
                    finish = rtnetlink.set_hairpin(name), rtnetlink.set_up(name)
                    try:
                        here.request(veth, *finish)
                    except FileExistsError:  # what an attach before us left half made
                        here.request(rtnetlink.delete_link(name))
                        here.request(veth, *finish)
                    self._configure(inside, address)

    def _configure(self, inside: rtnetlink.Socket, address: IPv4Address) -> None:
        eth0 = inside.link(_INSIDE)
        if eth0 is None:
            raise OSError(errno.ENODEV, f"{_INSIDE} is gone")
        inside.request(
            rtnetlink.set_up("lo"),
            rtnetlink.set_up(_INSIDE),
            rtnetlink.add_address(eth0.ifindex, IPv4Interface((address, self.pod_cidr.prefixlen))),
            rtnetlink.add_default_route(eth0.ifindex, self.gateway),
        )

    def _remove_bridge(self) -> None:
        with _border("cannot remove the bridge", "NetworkUnavailable"):
            with IPRoute() as ip:
                bridge.remove_bridge(ip, self._names.bridge)
            if self._pins.is_dir():
                self._pins.rmdir()

    # in the remover's thread

    def _remove_leaving(self) -> None:
        """All that asked so far go together: the kernel waits once for a batch, and as long for one."""
        batch: list[str] = []
        while self._leaving:
            batch.append(self._leaving.popleft())
        try:
            with _border("cannot remove the network of a sandbox", "FailedKillPod"):
                self._delete_links([self._names.link(sandbox_id) for sandbox_id in batch])
                for sandbox_id in batch:
                    netns.unpin(self.netns_path(sandbox_id))
        except BaseException:
            self._leaving.extend(batch)
            raise

    def _sweep(self, keep: frozenset[str]) -> None:
        with _border("cannot remove what is left over", "NetworkUnavailable"):
            kept = {self._names.link(sandbox_id) for sandbox_id in keep}
            links = [link.name for link in self._socket().links(kind="veth")]
            self._delete_links(
                [name for name in links if name.startswith(self._names.link_prefix) and name not in kept]
            )
            for pin in self._pinned():
                if pin not in keep:
                    netns.unpin(self._pins / pin)

    def _delete_links(self, names: list[str]) -> None:
        there = [name for name in names if self._socket().link(name)]
        if not there:
            return
        group = self._names.link_group
        try:
            self._socket().request(*(rtnetlink.set_group(name, group) for name in there), rtnetlink.delete_group(group))
        except OSError as error:
            if error.errno != errno.ENODEV:  # one went meanwhile, with its namespace
                raise

    # in the rules' thread

    def _ensure_rules(self) -> None:
        if self._published is not None or not self._firewall.exists():
            self._replace_rules()
        with _border("cannot let packets pass", "ForwardingBlocked"):
            if self._passed_at != self._firewall.generation() or passage.is_legacy():
                passage.ensure(self._names.bridge, self._names.table)
                self._passed_at = self._firewall.generation()

    def _replace_rules(self) -> None:
        """Whatever was published last: a call that waited for others finds its work done."""
        published = self._published or {}
        with _border("cannot replace our rules", "RulesetRejected"):
            self._firewall.replace(ruleset.render(self._names.table, self._names.bridge, self.pod_cidr, published))
            if self._in_force is not None:
                flows.forget_udp(ruleset.moved_udp_ports(self._in_force, published))
            self._in_force = published

    def _remove_rules(self) -> None:
        with _border("cannot remove our rules", "RulesetRejected"):
            self._firewall.remove()
            passage.remove(self._names.table)

    # in any thread

    def _fault(self, observer: rtnetlink.Socket, pin: str, link: rtnetlink.Link | None) -> str:
        if not netns.is_pinned(pin):
            return "its network namespace was unmounted"
        if link is None:
            return "its network link is gone"
        if not link.flags & rtnetlink.UP:
            return "its network link is down"
        if not link.flags & rtnetlink.LOWER_UP:
            return f"{_INSIDE} is down"
        if link.peer_namespace < 0:
            return f"{_INSIDE} was moved out of its network namespace"
        if not any(address in self.pod_cidr for address in observer.addresses(link.peer, link.peer_namespace)):
            return f"{_INSIDE} lost its address"
        return ""

    def _pinned(self) -> list[str]:
        try:
            return sorted(os.listdir(self._pins))
        except FileNotFoundError:
            return []

    def _bridge(self) -> rtnetlink.Link:
        ours = self._socket().link(self._names.bridge)
        if ours is None:
            raise OSError(errno.ENODEV, f"bridge {self._names.bridge} is gone")
        return ours

    def _socket(self) -> rtnetlink.Socket:
        """A socket of this thread, kept."""
        if not hasattr(self._sockets, "route"):
            self._sockets.route = rtnetlink.Socket()
        route: rtnetlink.Socket = self._sockets.route
        return route

    def _close_sockets(self) -> None:
        """What this thread holds."""
        if hasattr(self._sockets, "route"):
            self._sockets.route.close()
            del self._sockets.route

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))


@contextmanager
def _border(what: str, reason: str) -> Iterator[None]:
    """Map the kernel's errors to ours."""
    try:
        yield
    except PermissionError as error:
        raise HostError(f"{what}: {error.strerror}: this needs root") from error
    except OSError as error:
        raise TransientError(f"{what}: {error.strerror or error}", reason=reason) from error
    except NetlinkError as error:
        raise TransientError(f"{what}: {error.args[-1]}", reason=reason) from error
