"""Whom a request comes from, so that one client can't take what is meant for all."""

from __future__ import annotations

import ipaddress

from starlette.requests import Request

from seg_edge.serve.settings import ServeSettings


def client_of(address: str) -> str:
    """The client behind an address: of IPv6 its network of 64 bits, as each household has a whole one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


def client_of_request(request: Request, settings: ServeSettings) -> str:
    """The same of a request; behind a proxy named with `--name`, of the address that the proxy added last."""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    if settings.names and forwarded:
        return client_of(forwarded)
    return client_of(request.client.host) if request.client else ""
