use super::{Format, NANOS_PER_UNIT, ParseQuantityError, Quantity};

/// Quantities with a binary suffix stop here, as upstream's do.
const BINARY_MAX: i128 = i64::MAX as i128 * NANOS_PER_UNIT;

pub(super) fn quantity(text: &str) -> Result<Quantity, ParseQuantityError> {
    if text.is_empty() {
        return Err(ParseQuantityError::Format);
    }
    let (negative, rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (whole, rest) = split_digits(rest);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => split_digits(rest),
        rest => (&[][..], rest),
    };
    let (nanos, format) = match Suffix::read(rest)? {
        Suffix::Decimal(exponent) => (decimal(whole, fraction, exponent)?, Format::DecimalSi),
        Suffix::Exponent(exponent) => {
            (decimal(whole, fraction, exponent)?, Format::DecimalExponent)
        }
        Suffix::Binary(power) => {
            let nanos = binary(whole, fraction, power);
            // Less than one cannot be said with binary suffixes.
            let tiny = nanos > 0 && nanos < NANOS_PER_UNIT;
            (nanos, if tiny { Format::DecimalSi } else { Format::BinarySi })
        }
    };
    Ok(Quantity::of(if negative { -nanos } else { nanos }, format))
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

enum Suffix {
    /// A power of ten, by a letter.
    Decimal(i64),
    /// A power of ten, as a number.
    Exponent(i64),
    /// A power of two.
    Binary(u32),
}

impl Suffix {
    fn read(text: &[u8]) -> Result<Self, ParseQuantityError> {
        let letters = text.iter().take_while(|byte| b"eEinumkKMGTP".contains(byte)).count();
        let sign = usize::from(matches!(text.get(letters), Some(b'+' | b'-')));
        if !text[letters + sign..].iter().all(u8::is_ascii_digit) {
            return Err(ParseQuantityError::Format);
        }
        Ok(match text {
            b"" => Self::Decimal(0),
            b"n" => Self::Decimal(-9),
            b"u" => Self::Decimal(-6),
            b"m" => Self::Decimal(-3),
            b"k" => Self::Decimal(3),
            b"M" => Self::Decimal(6),
            b"G" => Self::Decimal(9),
            b"T" => Self::Decimal(12),
            b"P" => Self::Decimal(15),
            b"E" => Self::Decimal(18),
            b"Ki" => Self::Binary(10),
            b"Mi" => Self::Binary(20),
            b"Gi" => Self::Binary(30),
            b"Ti" => Self::Binary(40),
            b"Pi" => Self::Binary(50),
            b"Ei" => Self::Binary(60),
            [b'e' | b'E', exponent @ ..] => {
                let exponent =
                    std::str::from_utf8(exponent).ok().and_then(|text| text.parse().ok());
                Self::Exponent(exponent.ok_or(ParseQuantityError::Suffix)?)
            }
            _ => return Err(ParseQuantityError::Suffix),
        })
    }
}

/// The nanos of `whole.fraction × 10^exponent`, rounded up.
fn decimal(whole: &[u8], fraction: &[u8], exponent: i64) -> Result<i128, ParseQuantityError> {
    let digits = || whole.iter().chain(fraction).map(|digit| i128::from(digit - b'0'));
    if digits().all(|digit| digit == 0) {
        return Ok(0);
    }
    // How many of the digits are left of the nanos' point; the rest only rounds.
    let kept = exponent.saturating_add(9).saturating_add(whole.len() as i64);
    let mut nanos: i128 = 0;
    let mut lost = false;
    for (index, digit) in digits().enumerate() {
        if (index as i64) < kept {
            nanos = shift(nanos, digit).ok_or(ParseQuantityError::Number)?;
        } else {
            lost |= digit != 0;
        }
    }
    let mut missing = kept - (whole.len() + fraction.len()) as i64;
    while missing > 0 && nanos != 0 {
        nanos = shift(nanos, 0).ok_or(ParseQuantityError::Number)?;
        missing -= 1;
    }
    nanos.checked_add(i128::from(lost)).ok_or(ParseQuantityError::Number)
}

/// The nanos of `whole.fraction × 2^power`, rounded up and capped.
fn binary(whole: &[u8], fraction: &[u8], power: u32) -> i128 {
    let unit = NANOS_PER_UNIT << power;
    let mut nanos: i128 = 0;
    for digit in whole {
        match shift(nanos, i128::from(digit - b'0') * unit) {
            Some(next) if next <= BINARY_MAX => nanos = next,
            _ => return BINARY_MAX,
        }
    }
    let mut below: i128 = 0;
    let mut lost = false;
    for digit in fraction.iter().rev() {
        let tenfold = i128::from(digit - b'0') * unit + below;
        below = tenfold / 10;
        lost |= tenfold % 10 != 0;
    }
    (nanos + below + i128::from(lost)).min(BINARY_MAX)
}

fn shift(number: i128, digit: i128) -> Option<i128> {
    number.checked_mul(10)?.checked_add(digit)
}
