"""A language model judges answers, from a server of the test's own."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from evojax_merge.fitness import ChatJudge, DataError, GenerationTask
from evojax_merge.fitness.judging.replies import Reading, UnreadableReplyError
from evojax_merge.hosts import Interrupted
from tests.fitness.conftest import written
from tests.fitness.judging.judged import judged, scores

pytest.importorskip("openai")

ITEM = {"question": "1 + 1?", "answer": ["2", "two"]}


def completion(content):
    return 200, {"choices": [{"message": {"role": "assistant", "content": content}}]}


class Server(ThreadingHTTPServer):
    """A server that replies in turn what it is told, the last one again and again.

    Attributes:
        requests: The bodies that came.
        keys: The keys that came with them.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.requests, self.keys = [completion("10")], [], []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.requests.append({"path": self.path, **json.loads(body)})
            server.keys.append(self.headers["Authorization"])
            status, reply = server.replies[0]
            if len(server.replies) > 1:
                server.replies.pop(0)
        if status == 0:
            self.connection.close()
            return
        content = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def task(write, server, tmp_path):
    def task(*items, language=None, **options):
        options = {"keep_replies": str(tmp_path / "replies"), "attempts": 3, **options}
        judge = ChatJudge(server.url, "wise", **options)
        data = write(*(items or (ITEM,)))
        return GenerationTask(data=data, judge=judge, max_new_tokens=8, language=language)

    return task


def test_a_judge_says_how_good_an_answer_is(task, server):
    server.replies = [completion("Score: 4/10.")]
    made = task(options={"seed": 7}, system="Be fair.")
    assert made.measure.name == "score by wise"
    verdict = judged(made, "about 2")
    assert verdict.score == pytest.approx(3 / 9)
    assert verdict.note == "Score: 4/10."
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert (request["model"], request["temperature"], request["seed"]) == ("wise", 0, 7)
    system, user = request["messages"]
    assert system == {"role": "system", "content": "Be fair."}
    for part in ("1 + 1?", "2\ntwo", "about 2"):
        assert part in user["content"]


def test_equal_answers_are_asked_once_and_never_again(task, model, server):
    server.replies = [completion("1"), completion("10")]
    bound = task(concurrency=1).bind(model)
    first = scores(bound, ["a"], ["b"], ["a"], [" "])
    assert first == [[0], [1], [0], [0]]
    assert len(server.requests) == 2
    assert bound.details(written(bound, [["b"]]))[0]["note"] == "10"
    again = task(concurrency=1).bind(model)
    assert scores(again, ["a"], ["b"], ["a"], [" "]) == first
    assert len(server.requests) == 2
    scores(task(max_tokens=9).bind(model), ["a"])  # another request
    assert len(server.requests) == 3


def test_an_answer_in_another_language_is_not_asked_about(task, server):
    assert judged(task(language="ja"), "two").score == 0
    assert server.requests == []


@pytest.mark.parametrize("failure", [(429, {}), (503, "busy"), (500, {}), (0, "")])
def test_failures_that_pass_are_asked_again(task, server, failure):
    server.replies = [failure, failure, completion("10")]
    assert judged(task(), "2").score == 1
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            (401, {"error": "no key"}),
            r"refuses the answer.*line 1 \(401 .*no key.*key_variable",
        ),
        ((404, "nothing here"), r"\(404 'nothing here'\); see fitness.judge.url"),
        ((429, "later"), r"\(429 'later'\)"),
        ((0, ""), r"cannot be reached, 3 times"),
        (completion("no idea"), r"line 1 cannot be read, 3 times: it holds 0 numbers and not one"),
        (completion("11"), "11 is not from 1 to 10"),
        (completion(None), "it is no chat completion"),
        ((200, "<html>"), "it is no chat completion"),
        ((200, {"choices": []}), "it is no chat completion"),
        ((200, "[]"), "it is no chat completion"),
    ],
)
def test_failures_that_do_not_pass_are_errors(task, server, reply, message):
    server.replies = [reply]
    with pytest.raises(ValueError, match=message):
        judged(task(), "2")
    server.replies = [completion("10")]
    assert judged(task(), "2").score == 1  # nothing was kept


def test_unreadable_replies_may_have_a_score_of_their_own(task, server):
    server.replies = [completion("no idea")]
    assert judged(task(unreadable=0.25), "2").score == 0.25
    assert len(server.requests) == 3
    assert judged(task(unreadable=0.5), "2").score == 0.5  # the reply is kept, not the score
    assert len(server.requests) == 3


def test_a_used_up_budget_stops_and_what_was_replied_is_kept(task, model, server):
    answers = [[str(number)] for number in range(5)]
    bound = task(requests=3, concurrency=1).bind(model)
    with pytest.raises(Interrupted, match=r"budget of 3 questions .*\(fitness.judge.requests\)"):
        scores(bound, *answers)
    assert len(server.requests) == 3
    assert scores(task(requests=2).bind(model), *answers) == [[1]] * 5
    assert len(server.requests) == 5


def test_the_key_is_read_from_the_environment_and_kept_nowhere(task, server, monkeypatch, tmp_path):
    monkeypatch.setenv("JUDGE_KEY", "secret-key")
    made = task(key_variable="JUDGE_KEY")
    judged(made, "2")
    assert server.keys == ["Bearer secret-key"]
    kept = [file.read_text() for file in (tmp_path / "replies").rglob("*.json")]
    assert len(kept) == 1
    assert "secret-key" not in kept[0]
    assert "secret-key" not in repr(vars(made))
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    judged(task(), "3")
    assert "another-key" not in server.keys[-1]


@pytest.mark.parametrize(
    ("options", "reply", "score"),
    [
        ({}, "8/10", 7 / 9),
        ({}, "8 out of 10", 7 / 9),
        ({}, "8.5", 7.5 / 9),
        ({}, "10/10", 1),
        ({"least": 0, "most": 1}, "0.5", 0.5),
        ({"reads": "yes_no"}, "**Yes**, it is.", 1),
        ({"reads": "yes_no"}, "いいえ", 0),
        ({"reads": "pattern", "pattern": r"\[\[(.+?)\]\]"}, "2 of 3, [[1]] or [[10]]", 1),
    ],
)
def test_replies(options, reply, score):
    given = {"reads": "number", "least": 1, "most": 10, "pattern": None, **options}
    assert Reading(**given, where="fitness.judge")(reply) == pytest.approx(score)


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        ({}, "8 or 9"),
        ({}, "8/100"),
        ({}, "-1"),
        ({"reads": "yes_no"}, "It is right."),
        ({"reads": "yes_no"}, ""),
        ({"reads": "pattern", "pattern": r"\[\[(.+?)\]\]"}, "[[ten]]"),
        ({"reads": "pattern", "pattern": r"\[\[(.+?)\]\]"}, "10"),
    ],
)
def test_replies_without_a_score(options, reply):
    given = {"reads": "number", "least": 1, "most": 10, "pattern": None, **options}
    with pytest.raises(UnreadableReplyError):
        Reading(**given, where="fitness.judge")(reply)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000"}, "fitness.judge.url is 'localhost:8000'; give one as http://"),
        ({"url": "http://me:pass@host/v1"}, "holds a password, which would be written"),
        ({"model": ""}, "fitness.judge.model must be a text, not empty"),
        ({"template": "{question}"}, "fitness.judge.template has no {answer}"),
        ({"key_variable": "NOT_THERE"}, "the environment variable 'NOT_THERE' is not set"),
        ({"least": 5, "most": 5}, "least is 5, and most is 5; least must be less"),
        ({"pattern": "x"}, "a pattern is given with reads=pattern, and only then"),
        ({"reads": "pattern", "pattern": "x"}, "pattern has no group"),
        ({"requests": -1}, "fitness.judge.requests must be a whole number of at least 0"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    given = {"url": "http://localhost:1/v1", "model": "wise", **options}
    with pytest.raises(ValueError, match=message):
        ChatJudge(**given)


def test_items_lack_what_the_question_asks_for(task):
    with pytest.raises(DataError, match="no field 'context'"):
        task(template="{context} {answer}")
    with pytest.raises(DataError, match="no field 'answer'"):
        task({"question": "?"})
    task({"question": "?"}, template="{question} {answer}")
