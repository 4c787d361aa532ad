"""Identifies clients, so that one of them can't use up what is meant for all."""

from __future__ import annotations

import ipaddress

from starlette.requests import Request

from seg_edge.serve.settings import ServeSettings


def client_of(address: str) -> str:
    """The client at an address: for IPv6 its /64 network, as each household has a whole one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


def client_of_request(request: Request, settings: ServeSettings) -> str:
    """The client of a request; with a proxy (`--name`), by the last address in X-Forwarded-For."""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    if settings.names and forwarded:
        return client_of(forwarded)
    return client_of(request.client.host) if request.client else ""
