//! Pure: numbers as HCL reckons with them: binary fractions of as many bits as their operands have, 512 where they are
//! written down (cty, on Go's `math/big`). So 0.1 + 0.2 is 0.3, and 1 / 3 has 155 digits.

use dashu_float::round::mode::HalfEven;
use dashu_float::{DBig, FBig};
use dashu_int::IBig;

/// Bits of a number that is written down.
const WRITTEN: usize = 512;
/// Bits of a count, and of what Go's floats give.
const WHOLE: usize = 64;
const FLOAT: usize = 53;
/// Powers of ten beyond that are no numbers that a person writes.
const MAX_EXPONENT: u32 = 5000;

/// What two numbers come to.
pub(super) type Operation = fn(&Number, &Number) -> Result<Number, String>;
/// How two numbers stand to each other.
pub(super) type Comparison = fn(&Number, &Number) -> bool;

/// A number; never infinite.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(super) struct Number(FBig<HalfEven, 2>);

impl Number {
    /// What is written down: `12`, `-1.5e3`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
        let is_plain = unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let size: i32 = exponent.parse().ok()?;
        if !is_plain || !unsigned.contains(|c: char| c.is_ascii_digit()) || size.unsigned_abs() > MAX_EXPONENT
        {
            return None;
        }
        Self::of_decimal(&format!("{digits}e{size}"), WRITTEN)
    }

    fn of_decimal(text: &str, bits: usize) -> Option<Self> {
        let decimal: DBig = text.strip_prefix('+').unwrap_or(text).parse().ok()?;
        let decimal = decimal.with_rounding::<HalfEven>();
        Some(Self(decimal.with_base_and_precision::<2>(bits).value()))
    }

    /// A whole number, however large.
    pub(super) fn of_int(value: IBig) -> Self {
        let value = FBig::from(value);
        let bits = value.digits().max(WHOLE);
        Self(value.with_precision(bits).value())
    }

    /// What Go reckons with floats; none for what is not finite.
    pub(super) fn of_float(value: f64) -> Option<Self> {
        let value = FBig::<HalfEven, 2>::try_from(value).ok().filter(|value| value.repr().is_finite())?;
        Some(Self(value.with_precision(FLOAT).value()))
    }

    pub(super) fn to_float(&self) -> f64 {
        self.0.to_f64().value()
    }

    /// As a whole number, if it is one.
    pub(super) fn to_int(&self) -> Option<IBig> {
        let is_whole = self.sign() == 0 || self.0.repr().is_int();
        is_whole.then(|| self.0.to_int().value())
    }

    pub(super) fn plus(&self, other: &Self) -> Result<Self, String> {
        Ok(Self(&self.0 + &other.0))
    }

    pub(super) fn minus(&self, other: &Self) -> Result<Self, String> {
        Ok(Self(&self.0 - &other.0))
    }

    pub(super) fn times(&self, other: &Self) -> Result<Self, String> {
        Ok(Self(&self.0 * &other.0))
    }

    pub(super) fn over(&self, other: &Self) -> Result<Self, String> {
        if other.0.repr().significand().is_zero() {
            return Err("nothing can be divided by zero".to_owned());
        }
        Ok(Self(&self.0 / &other.0))
    }

    /// What is left of a division whose result is whole.
    pub(super) fn modulo(&self, other: &Self) -> Result<Self, String> {
        self.minus(&other.times(&self.over(other)?.whole())?)
    }

    pub(super) fn negated(&self) -> Self {
        Self(-self.0.clone())
    }

    /// Without its fraction.
    pub(super) fn whole(&self) -> Self {
        self.like(self.0.trunc())
    }

    pub(super) fn floor(&self) -> Self {
        self.like(self.0.floor())
    }

    pub(super) fn ceil(&self) -> Self {
        self.like(self.0.ceil())
    }

    /// -1, 0 or 1.
    pub(super) fn sign(&self) -> i8 {
        match self.0.repr().significand() {
            zero if zero.is_zero() => 0,
            _ if self.is_negative() => -1,
            _ => 1,
        }
    }

    pub(super) fn is_negative(&self) -> bool {
        self.0.repr().sign() == dashu_base::Sign::Negative
    }

    /// As many bits as this one has.
    fn like(&self, value: FBig<HalfEven, 2>) -> Self {
        Self(value.with_precision(self.0.precision()).value())
    }

    /// As it stands in strings: never with an exponent, and with the fewest digits that give the same number again.
    pub(super) fn text(&self) -> String {
        Decimal::shortest(self).fixed(0)
    }
}

/// Digits of a number: `0.DIGITS` times ten to the `point`.
pub(super) struct Decimal {
    digits: Vec<u8>,
    point: isize,
    is_negative: bool,
}

impl Decimal {
    /// All of them.
    pub(super) fn of(number: &Number) -> Self {
        let (significand, exponent) = number.0.repr().clone().into_parts();
        let size = exponent.unsigned_abs();
        let (whole, places) = if exponent < 0 {
            (significand * IBig::from(5).pow(size), exponent)
        } else {
            (significand << size, 0)
        };
        let digits = whole.to_string().trim_start_matches(['-', '0']).as_bytes().to_vec();
        let point = places.saturating_add_unsigned(digits.len());
        Self { digits, point, is_negative: number.is_negative() }
    }

    /// The fewest that give the same number again.
    pub(super) fn shortest(number: &Number) -> Self {
        let bits = number.0.precision();
        let all = Self::of(number);
        let is_another = |count: usize| {
            let few = all.rounded(count).exponential(count.saturating_sub(1));
            Number::of_decimal(&few, bits).as_ref() != Some(number)
        };
        // One digit more never comes to be further away.
        let (mut least, mut most) = (0, all.digits.len());
        while least < most {
            let middle = least.midpoint(most);
            if is_another(middle) {
                least = middle + 1;
            } else {
                most = middle;
            }
        }
        all.rounded(most)
    }

    /// No more than so many digits, the last one even where two are as near.
    pub(super) fn rounded(&self, count: usize) -> Self {
        let (kept, rest) = self.digits.split_at(count.min(self.digits.len()));
        let (mut digits, mut point) = (kept.to_vec(), self.point);
        let is_odd = digits.last().is_some_and(|digit| digit % 2 == 1);
        let rises = match rest.split_first() {
            Some((b'5', more)) => is_odd || more.iter().any(|digit| *digit != b'0'),
            Some((first, _)) => *first > b'5',
            None => false,
        };
        if rises {
            while digits.pop_if(|digit| *digit == b'9').is_some() {}
            match digits.last_mut() {
                Some(last) => *last += 1,
                None => {
                    digits.push(b'1');
                    point += 1;
                }
            }
        }
        let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |at| at + 1);
        digits.truncate(end);
        Self { digits, point, is_negative: self.is_negative }
    }

    /// No more than so many digits behind the point.
    pub(super) fn with_places(&self, places: usize) -> Self {
        match usize::try_from(self.point.saturating_add_unsigned(places)) {
            Ok(count) => self.rounded(count),
            Err(_) => Self { digits: Vec::new(), ..*self },
        }
    }

    fn digit(&self, at: isize) -> char {
        let digit = usize::try_from(at).ok().and_then(|at| self.digits.get(at));
        char::from(digit.copied().unwrap_or(b'0'))
    }

    /// `-12.50`, with at least so many digits behind the point.
    pub(super) fn fixed(&self, places: usize) -> String {
        let point = if self.digits.is_empty() { 0 } else { self.point };
        let length = isize::try_from(self.digits.len()).unwrap_or(isize::MAX);
        let places = places.max(usize::try_from(length - point).unwrap_or(0));
        let places = isize::try_from(places).unwrap_or(isize::MAX);
        let whole: String = (0..point).map(|at| self.digit(at)).collect();
        let fraction: String = (point..point + places).map(|at| self.digit(at)).collect();
        let whole = if whole.is_empty() { "0" } else { &whole };
        let dot = if fraction.is_empty() { "" } else { "." };
        format!("{}{whole}{dot}{fraction}", self.sign())
    }

    /// `-1.25e+01`, with so many digits behind the point.
    pub(super) fn exponential(&self, places: usize) -> String {
        let places = isize::try_from(places).unwrap_or(isize::MAX);
        let fraction: String = (1..=places).map(|at| self.digit(at)).collect();
        let dot = if fraction.is_empty() { "" } else { "." };
        let exponent = self.exponent();
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}{}{dot}{fraction}e{sign}{:02}", self.sign(), self.digit(0), exponent.unsigned_abs())
    }

    /// Ten to which power it begins with.
    pub(super) fn exponent(&self) -> isize {
        if self.digits.is_empty() { 0 } else { self.point - 1 }
    }

    pub(super) fn count(&self) -> usize {
        self.digits.len()
    }

    fn sign(&self) -> &'static str {
        if self.is_negative { "-" } else { "" }
    }
}
