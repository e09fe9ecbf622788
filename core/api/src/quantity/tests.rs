use proptest::prelude::*;

use super::*;

#[track_caller]
fn canonical(text: &str, expected: &str) {
    assert_eq!(Quantity::parse(text).unwrap().to_string(), expected, "{text}");
}

fn quantity(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

#[test]
fn every_suffix_is_read_and_printed() {
    for text in [
        "0", "1n", "1u", "1m", "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti",
        "1Pi", "1Ei", "-5m", "12e3", "12e-3",
    ] {
        canonical(text, text);
    }
}

#[test]
fn the_largest_suffix_that_loses_nothing_is_taken() {
    canonical("0.5", "500m");
    canonical("1000m", "1");
    canonical("1.50", "1500m");
    canonical("1.5Gi", "1536Mi");
    canonical("1024Mi", "1Gi");
    canonical("1000Ki", "1000Ki");
    canonical("0.5Ki", "512");
    canonical("1e4", "10e3");
    canonical("1E4", "10e3");
    canonical("1000000", "1M");
    canonical("1000E", "1000E");
    canonical("0.1Mi", "104857600m");
    canonical("+1", "1");
    canonical(".5", "500m");
    canonical("1.", "1");
    canonical("0Ki", "0");
}

#[test]
fn what_is_too_fine_is_rounded_away_from_zero() {
    canonical("0.1n", "1n");
    canonical("-0.1n", "-1n");
    canonical("1.0000000001", "1000000001n");
    canonical("1e-30", "1e-9");
    canonical("0.0000000000000000000000000000000000000000000000001", "1n");
}

#[test]
fn what_is_too_large_is_capped_or_refused() {
    canonical("9Ei", "9223372036854775807");
    canonical("999999999999999999999999999999999999999999Ki", "9223372036854775807");
    assert_eq!(Quantity::parse("1e30"), Err(ParseQuantityError::Number));
    assert_eq!(Quantity::parse("1e9223372036854775807"), Err(ParseQuantityError::Number));
    assert!(Quantity::parse("0e9223372036854775807").unwrap().is_zero());
    let huge = quantity("1e29");
    assert!(huge.checked_add(huge).is_none());
    assert!(huge + huge > huge);
    assert_eq!(huge.value(), i64::MAX);
    assert_eq!((-huge).value(), i64::MIN);
}

#[test]
fn what_is_no_quantity_says_why() {
    use ParseQuantityError::{Format, Suffix};
    for (text, error) in [
        ("", Format),
        ("a", Format),
        ("1..5", Format),
        ("1e3.5", Format),
        ("1 ", Format),
        ("1é", Format),
        ("1e", Suffix),
        ("1K", Suffix),
        ("1m-", Suffix),
        ("1ee3", Suffix),
        ("1Mi3", Suffix),
        ("1e99999999999999999999", Suffix),
    ] {
        assert_eq!(Quantity::parse(text), Err(error), "{text}");
    }
}

#[test]
fn whole_and_milli_values_are_rounded_away_from_zero() {
    assert_eq!(quantity("1001m").value(), 2);
    assert_eq!(quantity("-1001m").value(), -2);
    assert_eq!(quantity("1u").millis(), 1);
    assert_eq!(quantity("2").millis(), 2000);
    assert_eq!(quantity("1Ki").value(), 1024);
}

#[test]
fn amounts_are_compared_not_texts() {
    assert_eq!(quantity("1024Mi"), quantity("1Gi"));
    assert_eq!(quantity("1"), quantity("1000m"));
    assert!(quantity("1G") < quantity("1Gi"));
    assert!(quantity("-1") < Quantity::ZERO);
}

#[test]
fn nothing_takes_the_format_of_what_is_added() {
    assert_eq!((Quantity::ZERO + quantity("2Gi")).to_string(), "2Gi");
    assert_eq!((quantity("1Gi") - quantity("512Mi")).to_string(), "512Mi");
    assert_eq!([quantity("100m"), quantity("900m")].into_iter().sum::<Quantity>().to_string(), "1");
    assert_eq!(Quantity::from_bytes(1 << 20).to_string(), "1Mi");
    assert_eq!(Quantity::from_bytes(1000).to_string(), "1k");
}

#[test]
fn the_text_type_of_the_api_goes_both_ways() {
    assert_eq!(Quantity::try_from(&Text(" 1.0 ".into())).unwrap(), Quantity::from_units(1));
    assert_eq!(Text::from(quantity("1.5")), Text("1500m".into()));
}

fn some() -> impl Strategy<Value = Quantity> {
    let formats =
        prop_oneof![Just(Format::DecimalSi), Just(Format::BinarySi), Just(Format::DecimalExponent)];
    (any::<i64>(), 0u32..12, formats).prop_map(|(nanos, power, format)| {
        let nanos = i128::from(nanos) * 10i128.pow(power);
        let capped = if format == Format::BinarySi { nanos % (1 << 90) } else { nanos };
        Quantity::of(capped, format)
    })
}

proptest! {
    #[test]
    fn printing_and_reading_gives_the_same(one in some()) {
        let read = quantity(&one.to_string());
        prop_assert_eq!(read, one);
        prop_assert_eq!(read.to_string(), one.to_string());
    }

    #[test]
    fn adding_and_taking_away_gives_the_same(one in some(), other in some()) {
        prop_assert_eq!(one + other - other, one);
        prop_assert_eq!(one + other, other + one);
        prop_assert_eq!(one - other, -(other - one));
        prop_assert_eq!(one < other, (one - other).is_negative());
    }

    #[test]
    fn reading_any_text_never_panics(text in "[-+]?[0-9.]{0,50}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,20}") {
        if let Ok(one) = Quantity::parse(&text) {
            prop_assert_eq!(quantity(&one.to_string()), one);
        }
    }
}
