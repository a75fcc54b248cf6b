"""Which names of keys, columns, variables and headers announce a sensitive value.

A name is taken apart into words, so that `author_session_len` has no `auth` in it, and `apiKey`, `API-KEY` and
`api.key` are the same. A name that ends in what is counted or measured (`password_length`, `tokens_total`,
`email_domain`) or begins with a question (`has_phone`) holds no secret: masking it would only spoil a feature.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

Words = tuple[str, ...]

_LONGEST_REMEMBERED = 128
_MOST_REMEMBERED = 4096

_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+")


def words_of(name: str) -> Words:
    """Return the words of a name in lower case, without digits: `AWSSecretKey_2` -> aws, secret, key."""
    return tuple(_WORD.findall(_WORD_STARTS.sub("_", name).lower()))


def _terms(text: str) -> frozenset[Words]:
    spaced = {tuple(term.split()) for term in text.split(",")}
    return frozenset(spaced | {("".join(term),) for term in spaced if len("".join(term)) > 5})


# Sensitive wherever they stand in a name; `api key` also as `apikey`.
_ANYWHERE = _terms(
    "password,passwords,passwd,passphrase,passphrases,passcode,pwd,secret,secrets,credential,credentials,creds,"
    "authorization,bearer,jwt,token,cookie,cookies,csrf,xsrf,csrfmiddlewaretoken,otp,totp,mfa code,pin code,"
    "api key,api keys,access key,access keys,secret key,private key,signing key,encryption key,account key,"
    "master key,ssh key,session key,shared key,license key,amz signature,auth header,http auth,basic auth,proxy auth,"
    "db pass,user pass,smtp pass,ftp pass,admin pass,root pass,redis pass,session id,sessid,phpsessid,jsessionid,"
    "email,emails,e mail,mail address,phone,phones,telephone,cellphone,mobile number,tel number,msisdn,fax number,"
    "ssn,social security,social insurance,national id,national insurance,identity number,identity card,passport,"
    "tax id,taxpayer id,aadhaar,cpf,nino,driver license,drivers license,driving license,driving licence,"
    "iban,bank account,routing number,card number,card no,card num,cardholder,cvv,cvc"
)
# Sensitive as the last words only: `auth` is, `auth_latency` is not.
_AT_THE_END = _terms("auth,pin,mail,tel,fax,credit card,debit card,payment card,account number")
# Sensitive as the whole name only: there is a `first_pass` over the data.
_ALONE = _terms("pass,pan")
# Long words that others are glued to: `pgpassword`, `authtoken`.
_GLUED = ("password", "passwd", "passphrase", "token", "apikey", "secretkey", "accesskey")
_LONGEST_TERM = max(map(len, _ANYWHERE))

_MEASURES = frozenset(
    "age ages at attempted attempts avg brand bytes capacity changed clicked clicks count counts created date days "
    "delay domain domains duration embedding embeddings enabled entropy expired expires expiry failures flag format "
    "frequency hours ids index kind latency len length level limit lifetime max mean median min minutes model ms "
    "opened opens policy position present price provider quality rate ratio requested required rotated score seconds "
    "sent service services size sizes status std strength sum time timeout timestamp total ttl type types updated "
    "usage used valid verified".split()
)
_QUESTIONS = frozenset(
    "accepts avg can count has is max mean min n nb needs num requires should total use uses".split()
)
# What a tokenizer calls a token.
_TEXT_TOKENS = frozenset(
    "audio bos cls end eos first image last mask next pad prev sep special start stop unk word".split()
)


def is_sensitive(name: str, further: Collection[Words] = ()) -> bool:
    """Whether the value of a key is to be masked.

    Args:
        name: The key.
        further: Words that make a name sensitive wherever they stand in it, without exceptions.
    """
    words = words_of(name)
    if further and any(part in further for part in _parts(words, max(map(len, further)))):
        return True
    if not words or words[-1] in _MEASURES or words[0] in _QUESTIONS:
        return False
    if len(words) > 1 and words[-1] == "token" and words[-2] in _TEXT_TOKENS:
        return False
    return (
        words in _ALONE
        or any(words[-length:] in _AT_THE_END for length in (1, 2))
        or any(word.endswith(_GLUED) for word in words)
        or any(part in _ANYWHERE for part in _parts(words, _LONGEST_TERM))
    )


def _parts(words: Words, longest: int) -> Iterator[Words]:
    """Yield every run of up to `longest` words."""
    for start in range(len(words)):
        for end in range(start + 1, min(start + longest, len(words)) + 1):
            yield words[start:end]


class Judgements:
    """What was decided on names: they recur call after call, and deciding on one takes 10 us.

    Args:
        judge: Returns a name as it may be shown, and whether its value is sensitive.
    """

    def __init__(self, judge: Callable[[str], tuple[str, bool]]) -> None:
        self._judge = judge
        self._known: dict[str, tuple[str, bool]] = {}
        self.plain: set[str] = set()
        """Of the names that are remembered, those that may be shown and whose values are not sensitive."""

    def of(self, name: str) -> tuple[str, bool]:
        """Return a name as it may be shown, and whether its value is sensitive."""
        return self._known.get(name) or self._learn(name)

    def _learn(self, name: str) -> tuple[str, bool]:
        judged = self._judge(name)
        if len(name) <= _LONGEST_REMEMBERED:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
                self.plain.clear()
            self._known[name] = judged
            if judged == (name, False):
                self.plain.add(name)
        return judged
