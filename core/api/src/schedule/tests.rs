use jiff::{Timestamp, Zoned};

use super::*;

/// The times after another in a zone, as many as are expected, which are written in that zone.
#[track_caller]
fn check_times(text: &str, after: &str, expected: &[&str]) {
    let after: Zoned = after.parse().unwrap();
    let zone = after.time_zone().clone();
    let schedule = Schedule::parse(text).unwrap().in_zone(zone.clone());
    let mut at = after.timestamp();
    let found: Vec<String> = expected
        .iter()
        .map(|_| {
            at = schedule.next(at, at).unwrap();
            at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        })
        .collect();
    assert_eq!(found, expected, "{text} after {after}");
}

#[test]
fn the_next_time_is_found_in_the_zone() {
    check_times("*/5 * * * *", "2026-01-01T00:02[UTC]", &["2026-01-01T00:05:00+00:00"]);
    check_times("30 4 1,15 * 5", "2026-01-01T05:00[UTC]", &["2026-01-02T04:30:00+00:00"]);
    let monday = "2026-01-05T09:00:00+01:00";
    check_times("0 9 * * MON-FRI", "2026-01-02T10:00[Europe/Berlin]", &[monday]);
    check_times("@hourly", "2026-01-01T00:00[UTC]", &["2026-01-01T01:00:00+00:00"]);
    check_times("0 0 29 2 *", "2026-03-01T00:00[UTC]", &["2028-02-29T00:00:00+00:00"]);
    let quarters = ["2026-03-28T12:05:00+00:00", "2026-03-28T12:20:00+00:00"];
    check_times("5/15 * * * *", "2026-03-28T12:00[UTC]", &quarters);
}

#[test]
fn a_star_with_a_step_is_a_list_like_any_other() {
    let all = ["2026-03-02", "2026-03-03", "2026-03-05", "2026-03-07", "2026-03-09", "2026-03-11"];
    let all = all.map(|day| format!("{day}T00:00:00+00:00"));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    check_times("0 0 */2 * 1", "2026-03-01T00:00[UTC]", &all);
    let two = ["2026-03-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00"];
    check_times("0 0 1-31 * 1", "2026-03-01T00:00[UTC]", &two);
    let mondays = ["2026-03-02T00:00:00+00:00", "2026-03-09T00:00:00+00:00"];
    check_times("0 0 * * 1", "2026-03-01T00:00[UTC]", &mondays);
    check_times("0 0 ? * mon", "2026-03-01T00:00[UTC]", &mondays);
}

#[test]
fn what_clocks_leave_out_does_not_come() {
    let start = "2026-03-28T13:00[Europe/Berlin]";
    let two = ["2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"];
    check_times("30 2 * * *", start, &two);
    let three = ["2026-03-29T03:00:00+02:00", "2026-03-30T03:00:00+02:00"];
    check_times("0 3 * * *", start, &three);
    let start = "2026-03-29T01:15[Europe/Berlin]";
    check_times("0 * * * *", start, &["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"]);
    let halves = ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00"];
    check_times("*/30 * * * *", start, &halves);
    // The one day that has the date has not the hour.
    check_times("30 2 29 3 *", start, &["2027-03-29T02:30:00+02:00"]);
    // A midnight, and a whole day.
    let start = "2018-11-03T09:00[America/Sao_Paulo]";
    check_times("0 0 * * *", start, &["2018-11-05T00:00:00-02:00", "2018-11-06T00:00:00-02:00"]);
    let start = "2011-12-28T14:00[Pacific/Apia]";
    check_times("0 12 * * *", start, &["2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00"]);
}

#[test]
fn what_clocks_show_twice_comes_twice() {
    let start = "2026-10-24T14:00[Europe/Berlin]";
    let both =
        ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"];
    check_times("30 2 * * *", start, &both);
    let halves = [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-26T02:00:00+01:00",
    ];
    check_times("*/30 2 * * *", start, &halves);
    let start = "2024-11-02T08:00[America/Havana]";
    let midnights = ["2024-11-03T00:00:00-04:00", "2024-11-03T00:00:00-05:00"];
    check_times("@daily", start, &midnights);
    // By half an hour.
    let start = "2026-04-04T03:00[Australia/Lord_Howe]";
    check_times("45 1 * * *", start, &["2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30"]);
}

#[test]
fn intervals_do_not_care_for_clocks_and_keep_their_beat() {
    let start = "2026-03-29T01:10:05[Europe/Berlin]";
    let hours = ["2026-03-29T03:10:05+02:00", "2026-03-29T04:10:05+02:00"];
    check_times("@every 1h", start, &hours);
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let schedule = Schedule::parse("@every 1h30m").unwrap();
    let (since, now) = (at("2026-01-01T00:00:10.7Z"), at("2026-01-01T04:00:00Z"));
    assert_eq!(schedule.next(since, now), Some(at("2026-01-01T04:30:10Z")));
    let found = schedule.latest(since, since..now, 1);
    assert_eq!(found, Latest { at: Some(at("2026-01-01T03:00:10Z")), many: true });
    let missed = at("2026-01-01T03:00:10Z")..now;
    assert_eq!(schedule.latest(since, missed, 1), Latest::default());
    for (text, seconds) in [("@every 1.9s", 1), ("@every 10ms", 1), ("@every -1h", 1)] {
        let next = Schedule::parse(text).unwrap().next(since, since).unwrap();
        assert_eq!(next.as_second() - since.as_second(), seconds, "{text}");
    }
}

#[test]
fn the_last_of_many_times_is_found_at_once() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let (since, now) = (at("2026-03-01T00:00:00Z"), at("2026-04-01T12:00:30Z"));
    for (text, expected, many) in [
        ("* * * * *", "2026-04-01T12:00:00Z", true),
        ("0 9 * * *", "2026-04-01T09:00:00Z", false),
        ("*/1 9 * * 1", "2026-03-30T09:59:00Z", true),
    ] {
        let found = Schedule::parse(text).unwrap().latest(since, since..now, 100);
        assert_eq!(found, Latest { at: Some(at(expected)), many }, "{text}");
    }
}

#[test]
fn a_time_that_never_comes_is_not_looked_for() {
    let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    for text in ["0 0 31 2 *", "0 0 31 4,6,9,11 *", ", * * * *"] {
        let schedule = Schedule::parse(text).unwrap();
        assert_eq!(schedule.next(now, now), None, "{text}");
        assert_eq!(
            schedule.latest(Timestamp::MIN, Timestamp::MIN..now, 1),
            Latest::default(),
            "{text}"
        );
    }
    // The year 2100 has no such day, and 2104 is too far away.
    let now: Timestamp = "2096-03-01T00:00:00Z".parse().unwrap();
    assert_eq!(Schedule::parse("0 0 29 2 *").unwrap().next(now, now), None);
}

#[test]
fn a_zone_in_the_text_comes_before_any_other() {
    let now: Timestamp = "2026-03-28T12:00:00Z".parse().unwrap();
    for text in ["TZ=Europe/Berlin 30 2 * * *", "CRON_TZ=Europe/Berlin 30 2 * * *"] {
        let schedule = Schedule::parse(text).unwrap().in_zone(TimeZone::get("Asia/Tokyo").unwrap());
        let next = schedule.next(now, now).unwrap().to_string();
        assert_eq!(next, "2026-03-30T00:30:00Z", "{text}");
    }
}

#[test]
fn what_upstream_does_not_take_is_refused() {
    let no_number = |text: &str| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax")
    };
    for (schedule, why) in [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("* * L * *", &no_number("L")),
        ("-5 * * * *", &no_number("")),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("*/-1 * * * *", "negative number (-1) not allowed: -1"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("@often", "unrecognized descriptor: @often"),
        ("@Hourly", "unrecognized descriptor: @Hourly"),
        ("@every 1d", "failed to parse duration @every 1d: time: invalid duration \"1d\""),
        (
            "TZ=Nowhere/Land 0 * * * *",
            "provided bad location Nowhere/Land: unknown time zone Nowhere/Land",
        ),
        ("TZ=UTC", "invalid schedule format: nothing follows the time zone"),
    ] {
        assert_eq!(Schedule::parse(schedule).unwrap_err(), why, "{schedule}");
    }
}
