"""Who may use the server: this machine under its own names, the server's own page, and holders of the token."""

import pytest
from starlette.testclient import TestClient

from seg_edge.errors import UsageError
from seg_edge.serve.settings import ServeSettings
from seg_edge.system.port import AllowedHosts
from tests.edge.serve.conftest import MakeClient

TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"])
def test_requests_to_its_own_names_are_accepted(client: TestClient, host: str) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "192.168.1.5:8000", "localhost.evil.example"])
def test_requests_to_a_web_site_s_name_are_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/v1/models", "/healthz"):
        response = client.get(path, headers={"Host": host})
        assert response.status_code == 403
        assert response.headers["content-type"] == "application/problem+json"


def test_another_site_s_page_can_not_send_photos(client: TestClient) -> None:
    for origin, status in (("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:8000", 422)):
        response = client.post("/v1/segment", content=b"nonsense", headers={"Origin": origin})
        assert response.status_code == status
        assert "access-control-allow-origin" not in response.headers


def test_no_site_is_allowed_to_read_across_origins(client: TestClient) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    response = client.options("/v1/segment", headers=asked)
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


def test_every_response_has_the_headers_that_isolate_the_page(client: TestClient) -> None:
    for response in (client.get("/"), client.get("/nothing"), client.get("/v1/models"), client.post("/v1/segment")):
        assert response.headers["cross-origin-opener-policy"] == "same-origin"
        assert response.headers["cross-origin-embedder-policy"] == "require-corp"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "http" not in response.headers["content-security-policy"]  # nothing from elsewhere
        assert response.headers["x-content-type-options"] == "nosniff"


def test_with_a_token_only_the_page_and_health_are_for_everyone(make_client: MakeClient) -> None:
    client = make_client(token=TOKEN)
    assert client.get("/").status_code == client.get("/healthz").status_code == 200
    protected = (("GET", "/v1/models"), ("POST", "/v1/segment"), ("GET", "/metrics"), ("GET", "/openapi.json"))
    for method, path in protected:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            response = client.request(method, path, headers=given)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert "bright" not in response.text
        assert client.request(method, path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 422)


def test_refusals_are_counted_too(make_client: MakeClient) -> None:
    client = make_client(token=TOKEN)
    client.post("/v1/segment")
    client.post("/v1/segment", headers={"Host": "evil.example"})
    text = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert 'seg_edge_requests_total{status="401"} 1.0' in text
    assert 'seg_edge_requests_total{status="403"} 1.0' in text


def test_requests_to_a_proxy_s_name_need_a_token(make_client: MakeClient) -> None:
    client = make_client(names=("Seg.example.org",), token=TOKEN)
    headers = {"Host": "seg.example.org", "Origin": "https://seg.example.org", "Authorization": f"Bearer {TOKEN}"}
    assert client.get("/", headers={"Host": "seg.example.org"}).status_code == 200
    assert client.post("/v1/segment", content=b"nonsense", headers=headers).status_code == 422
    assert client.post("/v1/segment", headers={**headers, "Authorization": ""}).status_code == 401
    assert client.post("/v1/segment", headers={**headers, "Origin": "https://evil.example"}).status_code == 403
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_a_proxy_s_name_needs_a_token_and_must_be_a_name() -> None:
    command = "seg-edge serve --port 9000 --name seg.example.org"
    with pytest.raises(UsageError, match=f"SEG_EDGE_TOKEN=[A-Za-z0-9_-]{{20,}} {command}"):
        ServeSettings(names=("seg.example.org",), command=command).check_reach(loopback=True)
    with pytest.raises(UsageError, match="not a host name"):
        ServeSettings(names=("https://seg.example.org/",), token=TOKEN)


def test_other_machines_are_let_in_only_with_a_token() -> None:
    network = AllowedHosts("0.0.0.0", ("0.0.0.0", 8000))
    assert not network.loopback
    assert "192.168.1.5:8000" in network
    assert "evil.example" not in network
    ServeSettings(host="0.0.0.0", token=TOKEN).check_reach(network.loopback)
    with pytest.raises(UsageError, match="SEG_EDGE_TOKEN=[A-Za-z0-9_-]{20,} seg-edge serve"):
        ServeSettings(host="0.0.0.0").check_reach(network.loopback)


@pytest.mark.parametrize("token", ["short", "with spaces in it, long", "ümläuts-ümläuts-ümläuts"])
def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="the token must have 16"):
        ServeSettings(token=token)


@pytest.mark.parametrize("target", ["http://127.0.0.1:8000/v1/models", "HTTP://localhost/v1/models?x=1"])
def test_a_target_with_a_host_counts_as_that_host(client: TestClient, target: str) -> None:
    assert ask(client, target, {"host": "evil.example"})[0] == 200
    assert ask(client, target.replace("127.0.0.1:8000", "evil.example").replace("localhost", "evil.example"))[0] == 403


def ask(
    client: TestClient, target: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, bytes]:
    """Status and body of a request as uvicorn would pass it on."""
    path, _, query = target.partition("?")
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    scope |= {"root_path": "", "scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1)}
    given = {"host": "localhost", **(headers or {})}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in given.items()]
    messages: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b""}

    async def send(message: dict) -> None:
        messages.append(message)

    client.portal.call(client.app, scope, receive, send)
    return messages[0]["status"], b"".join(message.get("body", b"") for message in messages[1:])


def test_a_request_whose_end_could_be_read_in_two_ways_is_refused(client: TestClient) -> None:
    both = {"content-length": "5", "transfer-encoding": "chunked"}
    status, body = ask(client, "/v1/segment", both, "POST")
    assert status == 400
    assert b"exclude each other" in body


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/metrics", "/openapi.json"])
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    asked, head = client.get(path), client.head(path)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == asked.headers["content-type"]
