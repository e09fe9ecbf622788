//! Quantities (`500m`, `1.5Gi`, `12e6`): exact decimal numbers that remember in which family of
//! suffixes they were written.

mod parse;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// An exact amount of something: CPU, memory, storage.
///
/// It is a fixed-point number with nine decimal places (what is finer is rounded away from zero)
/// and a magnitude up to 1.7 × 10²⁹; sums that would go beyond stop there. Quantities of equal
/// amount are equal however they were written. Copying and parsing allocate nothing.
///
/// ```
/// use pinnace_api::quantity::Quantity;
/// let total: Quantity = "1500m".parse::<Quantity>()? + "0.5".parse()?;
/// assert_eq!(total, Quantity::from_units(2));
/// assert_eq!("1.5Gi".parse::<Quantity>()?.to_string(), "1536Mi");
/// # Ok::<(), pinnace_api::quantity::ParseQuantityError>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The family of suffixes a quantity is printed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `n u m k M G T P E`, powers of ten.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`, powers of two.
    BinarySi,
    /// `e3`, powers of ten.
    DecimalExponent,
}

/// Why a text is no quantity, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseQuantityError {
    /// It does not look like one.
    #[error(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number is not one, or is too large.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// There is no such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANOS_PER_UNIT: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self::of(0, Format::DecimalSi);

    const fn of(nanos: i128, format: Format) -> Self {
        Self { nanos, format }
    }

    /// Reads a quantity.
    ///
    /// # Errors
    /// Says what part of the text does not fit.
    pub fn parse(text: &str) -> Result<Self, ParseQuantityError> {
        parse::quantity(text)
    }

    /// A whole number, printed with decimal suffixes.
    pub const fn from_units(units: i64) -> Self {
        Self::of(units as i128 * NANOS_PER_UNIT, Format::DecimalSi)
    }

    /// A number of thousandths, printed with decimal suffixes.
    pub const fn from_millis(millis: i64) -> Self {
        Self::of(millis as i128 * NANOS_PER_MILLI, Format::DecimalSi)
    }

    /// A number of nanos (`n`), printed with decimal suffixes.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self::of(nanos as i128, Format::DecimalSi)
    }

    /// A number of bytes, printed with binary suffixes.
    pub const fn from_bytes(bytes: i64) -> Self {
        Self::of(bytes as i128 * NANOS_PER_UNIT, Format::BinarySi)
    }

    /// The whole number, rounded away from zero; the nearest `i64` if it is beyond.
    pub fn value(self) -> i64 {
        self.rounded(NANOS_PER_UNIT)
    }

    /// The number of thousandths, rounded away from zero; the nearest `i64` if it is beyond.
    pub fn millis(self) -> i64 {
        self.rounded(NANOS_PER_MILLI)
    }

    fn rounded(self, unit: i128) -> i64 {
        let away = (self.nanos % unit).signum();
        let rounded = self.nanos / unit + away;
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    /// The number as floating point, which may not be exact.
    pub fn to_f64(self) -> f64 {
        self.nanos as f64 / NANOS_PER_UNIT as f64
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The family of suffixes it is printed with.
    pub fn format(self) -> Format {
        self.format
    }

    /// The same amount, printed with another family of suffixes.
    pub fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// The sum; `None` when it is out of bounds.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self::of(self.nanos.checked_add(other.nanos)?, self.format_with(other)))
    }

    /// The difference; `None` when it is out of bounds.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(Self::of(self.nanos.checked_sub(other.nanos)?, self.format_with(other)))
    }

    /// Nothing takes the format of what is added to it.
    fn format_with(self, other: Self) -> Format {
        if self.is_zero() { other.format } else { self.format }
    }
}

impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::of(self.nanos.saturating_add(other.nanos), self.format_with(other))
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::of(self.nanos.saturating_sub(other.nanos), self.format_with(other))
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self::of(self.nanos.saturating_neg(), self.format)
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<&Text> for Quantity {
    type Error = ParseQuantityError;
    fn try_from(text: &Text) -> Result<Self, Self::Error> {
        // Upstream's decoder strips white space, its parser does not.
        Self::parse(text.0.trim())
    }
}

impl From<Quantity> for Text {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.to_string())
    }
}

/// The canonical form: the largest suffix that leaves a whole number.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.nanos % NANOS_PER_UNIT == 0;
        let small = self.nanos.abs() < 1024 * NANOS_PER_UNIT;
        match self.format {
            _ if self.is_zero() => f.write_str("0"),
            Format::BinarySi if whole && !small => {
                let (number, power) = reduce(self.nanos / NANOS_PER_UNIT, 1024, BINARY.len() - 1);
                write!(f, "{number}{}", BINARY[power])
            }
            Format::BinarySi | Format::DecimalSi => {
                let (number, power) = reduce(self.nanos, 1000, DECIMAL.len() - 1);
                write!(f, "{number}{}", DECIMAL[power])
            }
            Format::DecimalExponent => {
                let (number, power) = reduce(self.nanos, 1000, usize::MAX);
                match 3 * power as i64 - 9 {
                    0 => write!(f, "{number}"),
                    exponent => write!(f, "{number}e{exponent}"),
                }
            }
        }
    }
}

const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// Divides `number`, which is not zero, by `base` as long as nothing is lost, at most `most` times.
fn reduce(mut number: i128, base: i128, most: usize) -> (i128, usize) {
    let mut power = 0;
    while power < most && number % base == 0 {
        number /= base;
        power += 1;
    }
    (number, power)
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
