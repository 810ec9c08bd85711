"""The oracle and the comparison are checked by hand-made cases, so that they cannot be wrong together with the runner."""

import os
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'scripts'))

import check_flights
import oracle

GOOD = '2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z'
HOURLY = {'carrier': 'UA', 'origin': 'EWR', 'window_start': '2013-01-01T10:00:00Z', 'count': 3,
          'mean_dep_delay': 1.0, 'max_dep_delay': 2}


def differences(wanted, found, name='hourly.jsonl'):
    return list(check_flights.differences(name, wanted, found))


def test_a_flight_has_its_event_time_from_time_hour_and_minute():
    flight, reason = oracle.parse(GOOD)
    assert reason is None
    assert oracle.rfc3339(flight['time']) == '2013-01-01T10:15:00Z'


@pytest.mark.parametrize('old, new, reason', [
    (',517,', ',NA,', 'cancelled'),
    (',517,', ',,', 'cancelled'),
    (',EWR,', ',', 'malformed: row: expected 19 columns, found 18'),
    (',2,', ',two,', 'malformed: dep_delay: not a whole number'),
    (',2,', ',,', 'malformed: dep_delay: missing'),
    (',UA,', ',U,', 'malformed: carrier: not a code'),
    (',5,15,', ',5,60,', 'malformed: minute: out of range'),
    ('-01T10', '-32T10', 'malformed: time_hour: not a time'),
])
def test_a_bad_row_has_the_first_reason(old, new, reason):
    assert oracle.parse(GOOD.replace(old, new, 1)) == (None, reason)


def test_hourly_groups_by_window_carrier_and_origin():
    flights = [oracle.parse(GOOD.replace(',2,', f',{delay},', 1))[0] for delay in (2, 5, -1)]
    flights.append(oracle.parse(GOOD.replace('T10', 'T11'))[0])
    assert oracle.hourly(flights) == [
        {**HOURLY, 'mean_dep_delay': 2.0, 'max_dep_delay': 5},
        {**HOURLY, 'window_start': '2013-01-01T11:00:00Z', 'count': 1, 'mean_dep_delay': 2.0, 'max_dep_delay': 2},
    ]


def test_the_fit_finds_the_plane_it_is_given():
    flights = []
    for hour in range(5, 15):
        for distance in (200, 500, 1000):
            row = GOOD.replace(',5,15,', f',{hour},15,').replace(',1400,', f',{distance},')
            flights.append(oracle.parse(row.replace(',2,', f',{10 + 3 * hour - distance // 100},', 1))[0])
    model, = oracle.models(flights)
    assert (model['flights'], model['intercept'], model['per_hour'], model['per_mile']) == (30, 10.0, 3.0, -0.01)


def test_few_flights_or_a_fit_that_is_not_unique_give_no_model():
    flights = [oracle.parse(GOOD)[0]] * 40
    assert oracle.models(flights) == []
    assert oracle.models(flights[:29]) == []


def test_equal_records_in_any_order_are_equal():
    other = {**HOURLY, 'carrier': 'AA'}
    assert differences([HOURLY, other], [other, {**HOURLY, 'mean_dep_delay': 1.0 + 1e-12}]) == []


@pytest.mark.parametrize('found', [
    [],
    [HOURLY, HOURLY],
    [HOURLY, {**HOURLY, 'carrier': 'AA'}],
    [{**HOURLY, 'count': 2}],
    [{**HOURLY, 'count': 3.0}],
    [{**HOURLY, 'mean_dep_delay': 1.0001}],
    [{**HOURLY, 'mean_dep_delay': None}],
    [{**HOURLY, 'extra': 1}],
    [{k: v for k, v in HOURLY.items() if k != 'origin'}],
])
def test_any_other_output_is_a_difference(found):
    assert differences([HOURLY], found)


def test_a_dead_letter_counts_as_often_as_it_is_there():
    letter = {'row': 7, 'reason': 'cancelled'}
    assert differences([letter], [letter, letter], 'dead_letters.jsonl')
