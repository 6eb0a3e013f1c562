//! The fields of an encoded message one by one, for what need not be decoded whole.

use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// The value of a field, as far as anybody here asks for it.
pub(crate) enum Field<'a> {
    /// An integer, an enum or a truth value.
    Varint(u64),
    /// A message, a text or bytes.
    Delimited(&'a [u8]),
    /// Anything else.
    Other,
}

/// Takes the next field's number and value from the front of a message; none at its end.
pub(crate) fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Option<(u32, Field<'a>)>, DecodeError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let (tag, wire_type) = decode_key(rest)?;
    let before = *rest;
    if wire_type == WireType::Varint {
        return Ok(Some((tag, Field::Varint(decode_varint(rest)?))));
    }
    skip_field(wire_type, tag, rest, DecodeContext::default())?;
    if wire_type != WireType::LengthDelimited {
        return Ok(Some((tag, Field::Other)));
    }
    let mut value = &before[..before.len() - rest.len()];
    decode_varint(&mut value)?;
    Ok(Some((tag, Field::Delimited(value))))
}
