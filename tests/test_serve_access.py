"""Who may ask a server, for how much, and what an owner says of it: keys, hosts, rates, rules, settings."""

import gc
import re

import openai
import pytest
from served import Gated, client_of, run_folder, running

from t2igan.cli import serve
from t2igan.cli.parse import parse
from t2igan.errors import UserError
from t2igan.inference.serving.keys import Key, digest_of, new_key, owner_of, read_keys
from t2igan.inference.serving.models import open_models
from t2igan.inference.serving.rates import Rate
from t2igan.inference.serving.settings import Settings


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return list(open_models([run_folder(tmp_path_factory.mktemp("runs"))]).values())


@pytest.fixture
def gated(models):
    catalogue = Gated(models)
    catalogue.gate.set()
    return catalogue


def test_with_keys_only_who_has_one_is_served(gated):
    keys = (Key("alice", digest_of("t2i-secret")), Key("bob", digest_of("t2i-other")))
    with running(gated, keys=keys) as server:
        ask = lambda **headers: server.ask("POST", "/v1/images/generations", {"prompt": "p"}, **headers)
        for wrong in (
            {},
            {"authorization": "Bearer "},
            {"authorization": "Bearer t2i-secre"},
            {"authorization": "t2i-secret"},
        ):
            status, _, body = ask(**wrong)
            assert status == 401 and body["error"]["code"] == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            client_of(server, "wrong").images.generate(prompt="p")
        (item,) = client_of(server, "t2i-secret").images.generate(prompt="p").data
        assert server.ask("GET", item.url.removeprefix(server.url))[0] == 200  # the address is its own right
        for path, status in (
            ("/", 200),
            ("/studio/app.js", 200),
            ("/healthz", 200),
            ("/metrics", 401),
            ("/v1/models", 401),
        ):
            assert server.ask("GET", path)[0] == status, path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:1"}, 200),
        ({"host": "[::1]"}, 200),
        ({"host": "evil.example"}, 403),  # a name that was made to point here
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "127.0.0.1", "origin": "http://127.0.0.1"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "https://friend.example"}, 200),
    ],
)
def test_pages_and_names_of_others_are_refused(gated, headers, status):
    with running(gated, cors_origins=("https://friend.example",)) as server:
        assert server.ask("GET", "/healthz", host="10.0.0.7:8000")[0] == 200  # as probes ask
        found, answer, _ = server.ask("POST", "/v1/images/generations", {"prompt": "p"}, **headers)
        assert found == status
        friend = headers.get("origin") == "https://friend.example"
        assert (answer.get("access-control-allow-origin") == "https://friend.example") == friend


def test_every_answer_has_the_headers_that_keep_pages_safe(gated):
    with running(gated) as server:
        for path in ("/", "/v1/models", "/nothing"):
            headers = server.ask("GET", path)[1]
            assert "script-src 'self'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert server.ask("GET", "/", if_none_match=server.ask("GET", "/")[1]["etag"])[0] == 304


# ---- rates


def test_a_bucket_holds_a_minute_and_is_refilled_evenly():
    now = [100.0]
    rate = Rate(60, lambda: now[0])
    assert rate.take("a", 60) == (60, 0, 60.0, 0.0)
    assert rate.take("a", 6).wait_s == 6 and rate.take("b").remaining == 59
    now[0] += 5
    assert rate.take("a", 6).wait_s == 1 and rate.take("a", 5).wait_s == 0
    now[0] += 1000
    assert rate.take("a", 1000) == (60, 0, 60.0, 0.0)  # more than a minute's worth costs that
    rate.give_back("a", 60)
    assert rate.take("a", 60).wait_s == 0
    headers = rate.take("a", 1).headers("images")
    assert headers["x-ratelimit-limit-images"] == "60" and headers["x-ratelimit-reset-images"] == "1m0s"


def test_clients_that_have_their_minute_again_are_forgotten(monkeypatch):
    from t2igan.inference.serving import rates

    monkeypatch.setattr(rates, "_MOST_CLIENTS", 3)
    now = [0.0]
    rate = Rate(60, lambda: now[0])
    for client in "abcde":
        rate.take(client, 60)
    assert len(rate._buckets) == 3
    now[0] += 100
    rate.take("f")
    assert set(rate._buckets) == {"f"}


def test_who_asks_too_often_or_for_too_much_is_told_when_to_come_again(gated):
    keys = (Key("alice", digest_of("t2i-a")), Key("bob", digest_of("t2i-b")))
    with running(gated, keys=keys, requests_per_minute=3, images_per_minute=4, request_images=4) as server:
        ask = lambda num, key="t2i-a": server.ask(
            "POST", "/v1/images/generations", {"prompt": "p", "n": num}, authorization=f"Bearer {key}"
        )
        status, headers, _ = ask(3)
        assert status == 200
        assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("3", "2")
        assert (headers["x-ratelimit-limit-images"], headers["x-ratelimit-remaining-images"]) == ("4", "1")
        with pytest.raises(openai.RateLimitError, match="4 images a minute") as refused:
            client_of(server, "t2i-a").images.generate(prompt="p", n=4)
        assert refused.value.code == "rate_limit_exceeded" and refused.value.type == "rate_limit_error"
        assert 40 <= int(refused.value.response.headers["retry-after"]) <= 45  # three pictures of 15 s each
        assert ask(1)[0] == 200
        status, headers, answer = ask(1)
        assert status == 429 and "3 requests a minute" in answer["error"]["message"]
        assert 15 <= int(headers["retry-after"]) <= 20 and headers["x-ratelimit-remaining-requests"] == "0"
        assert ask(1, "t2i-b")[0] == 200  # another client's
        models = server.ask("GET", "/v1/models", authorization="Bearer t2i-a")
        assert models[0] == 200 and "x-ratelimit-limit-requests" not in models[1]


def test_an_owners_rules_are_kept(gated, tmp_path):
    (tmp_path / "deny.txt").write_text("red cap\n# a comment\n", encoding="utf-8")
    given = parse(serve.VERB, [f"--deny={tmp_path / 'deny.txt'}", f"--link_secret={tmp_path / 'secret'}"])
    rules = serve.settings_of(serve.resolve(given)).rules
    with running(gated, rules=rules) as server:
        ask = lambda prompt: server.ask("POST", "/v1/images/generations", {"prompt": prompt})
        assert ask("a cap that is red")[0] == 200
        for prompt in ("a Red cap", "(a red cap:1.2) and hair", "a (red:1.2) cap", "a r(e:1.2)d cap"):
            status, _, answer = ask(prompt)
            assert status == 400 and answer["error"]["code"] == "prompt_refused"


# ---- settings and keys


def test_keys_are_made_once_and_kept_as_hashes(tmp_path):
    path = tmp_path / "keys.txt"
    key = new_key(path, "alice")
    assert key not in path.read_text() and path.stat().st_mode & 0o077 == 0
    new_key(path, "bob")
    keys = read_keys(path)
    assert [one.name for one in keys] == ["alice", "bob"]
    assert owner_of(key, keys) == "alice" and owner_of(key + "x", keys) is None and owner_of("", keys) is None
    for wrong in ("alice", "two words", ""):
        with pytest.raises(UserError):
            new_key(path, wrong)
    path.write_text("alice t2i-the-key-itself\n")
    with pytest.raises(UserError, match="line 1"):
        read_keys(path)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"host": "0.0.0.0"}, "--new_key"),
        ({"host": "example.org"}, "--new_key"),
        ({"batch_images": 3}, "1, 2, 4"),
        ({"port": 70_000}, "65535"),
        ({"queue_images": 8, "request_images": 9}, "never be taken"),
        ({"cors_origins": ("https://a.example/path",)}, "must look like"),
        ({"public_url": "example.org"}, "must look like"),
        ({"log_format": "xml"}, "'json' or 'plain'"),
        ({"timeout_s": -1.0}, "timeout_s"),
        ({"images_per_minute": 3}, "at least --request_images=16"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, words):
    with pytest.raises(UserError, match=re.escape(words)):
        Settings(**given)


def test_a_flag_is_above_the_environment_and_that_above_the_file(tmp_path, monkeypatch):
    file = tmp_path / "serve.toml"
    file.write_text('port = 1\nqueue_images = 100\ntimeout_s = 5\nallowed_hosts = ["a.example", "b.example"]\n')
    monkeypatch.setenv("T2IGAN_SERVE_PORT", "2")
    monkeypatch.setenv("T2IGAN_SERVE_QUEUE_IMAGES", "200")
    options = serve.resolve(parse(serve.VERB, [f"--settings={file}", "--port=3"]))
    assert (options["port"], options["queue_images"], options["timeout_s"], options["host"]) == (
        3,
        200,
        5.0,
        "127.0.0.1",
    )
    assert options["allowed_hosts"] == ("a.example", "b.example")
    for text, words in (("prot = 1", "did you mean 'port'"), ("port = 'x'", "whole number"), ("=", "cannot be read")):
        file.write_text(text)
        monkeypatch.delenv("T2IGAN_SERVE_PORT", raising=False)
        with pytest.raises(UserError, match=words):
            serve.resolve(parse(serve.VERB, [f"--settings={file}"]))


def test_a_start_that_fails_leaves_garbage_collection_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = gc.get_threshold()
    with pytest.raises(UserError, match="nothing_here"):
        serve.run(parse(serve.VERB, [f"--workdir={tmp_path / 'nothing_here'}", "--port=0"]))
    assert gc.isenabled() and gc.get_threshold() == before
