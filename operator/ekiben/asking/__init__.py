"""Who finds the answer to each kind of question: one module per kind, and this table."""

from __future__ import annotations

from collections.abc import Mapping

from ekiben.asking.asker import Finder
from ekiben.asking.http import find_answer
from ekiben.asking.idleness import find_last_request
from ekiben.asking.numbers import find_number
from ekiben.asking.room import find_room
from ekiben.asking.secrets import is_immutable
from ekiben.asking.warming import warm_up
from ekiben.core.asking import Question
from ekiben.core.calling import HttpCall
from ekiben.core.capacity import Capacity
from ekiben.core.configuring import SecretLook
from ekiben.core.idleness import LastRequest
from ekiben.core.measuring import Measure
from ekiben.core.warming import WarmUpCall

FINDERS: Mapping[type[Question], Finder] = {
    HttpCall: find_answer,
    Measure: find_number,
    Capacity: find_room,
    SecretLook: is_immutable,
    WarmUpCall: warm_up,
    LastRequest: find_last_request,
}
