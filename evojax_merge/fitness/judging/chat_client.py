"""A client of addresses that speak like OpenAI's chat completions.

OpenAI's own package sends the requests, since what is hard here is to ask again well: it waits
longer and longer after refused and broken connections, 408, 409, 429 and 5xx, and as long as the
server says.
"""

from collections.abc import Mapping
from typing import Any

from evojax_merge.documents.errors import shown
from evojax_merge.fitness.judging.replies import UnreadableReplyError


class ChatClient:
    """A connection to an address.

    Args:
        url: The address.
        key: The key, if it needs one.
        seconds: The time after which a request is given up.
        attempts: How often a request is sent at most.
    """

    def __init__(self, url: str, key: str | None, seconds: float, attempts: int) -> None:
        self._url, self._key, self._seconds, self._attempts = url, key, seconds, attempts
        self._made: Any = None

    def __call__(self, request: Mapping[str, Any], place: str) -> str:
        """What is replied to a request, which has the keys of a chat completion.

        Args:
            request: The request.
            place: The item that it is about, in messages.

        Raises:
            UnreadableReplyError: The server answers, but not with a chat completion.
            ValueError: The server cannot be reached, or refuses the request.
        """
        import openai

        body = {key: value for key, value in request.items() if key != "url"}
        try:
            given = self._client.post("/chat/completions", body=body, cast_to=object)
        except openai.APIStatusError as error:
            said = " ".join(error.response.text.split())
            hint = {
                401: "; name the variable that holds the key as fitness.judge.key_variable",
                404: "; see fitness.judge.url, which often ends in /v1, and fitness.judge.model",
            }.get(error.status_code, "")
            raise ValueError(
                f"the judge at {self._url} refuses the answer to {place} "
                f"({error.status_code} {shown(said, 200)}){hint}"
            ) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise ValueError(
                f"the judge at {self._url} cannot be reached, {self._attempts} times "
                f"({type(cause).__name__}: {cause}); what it replied before is kept"
            ) from None
        except (openai.APIError, ValueError) as error:
            raise UnreadableReplyError(f"it is no chat completion ({error})") from None
        try:
            reply = given["choices"][0]["message"]["content"]
        except (TypeError, KeyError, IndexError):
            reply = None
        if not isinstance(reply, str):
            raise UnreadableReplyError(f"it is no chat completion: {shown(given, 200)}")
        return reply

    @property
    def _client(self) -> Any:
        if self._made is None:
            import openai

            self._made = openai.OpenAI(
                base_url=self._url,
                api_key=self._key or "none",
                organization="",
                project="",
                timeout=self._seconds,
                max_retries=self._attempts - 1,
            )
        return self._made
