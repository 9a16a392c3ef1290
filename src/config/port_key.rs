//! Reading the `[[port.key]]` tables of a port, and what is wrong with them together.

use std::ops::Range;

use subtle::ConstantTimeEq;
use toml::{Spanned, de::DeTable};
use zeroize::Zeroizing;

use super::{
    diagnostic::{Code, Diagnostic, Findings},
    key::{CakFault, HexFault, KeySource, SourceFault, decode_hex, fit_cak, is_reference, key_id},
    keys::{Place, check_keys},
    port::Context,
    redact::hide,
    rotation::{StartTime, heeds_start, read_start},
    values::{self, Value},
};
use crate::crypto::Cak;
use crate::ident::Ckn;
use crate::profile::{CakRule, LinkSettings, Profile};

/// A key as far as it could be read.
#[derive(Debug)]
pub(crate) struct KeyDraft {
    pub(crate) ckn: Option<(Ckn, Range<usize>)>,
    pub(crate) source: Option<(KeySource, Range<usize>)>,
    pub(crate) cak: Option<Cak>,
    pub(crate) start: Option<StartTime>,
    /// The length that was given, where zeros were put after it.
    pub(crate) padded_from: Option<usize>,
}

/// Reads the keys of a port; without `link`, whether they fit it is not judged.
pub(crate) fn read_keys(
    tables: &[(Range<usize>, &DeTable<'_>)],
    link: Option<&LinkSettings>,
    profile: Option<&'static Profile>,
    context: &Context<'_>,
    findings: &mut Findings,
) -> Vec<KeyDraft> {
    let mut drafts = Vec::with_capacity(tables.len());
    for (header, table) in tables {
        check_keys(table, Place::PortKey, header, &["ckn", "cak"], findings);
        let ckn = table.get("ckn").and_then(|value| report(read_ckn(value, context), findings));
        let ckn = ckn.zip(table.get("ckn").map(Spanned::span));
        let start = table.get("start").and_then(|value| report(read_start(value), findings));
        if let (Some(_), Some(value), Some(link)) = (start, table.get("start"), link) {
            heeds_start(link, value, findings);
        }
        drafts.push(KeyDraft { ckn, source: None, cak: None, start, padded_from: None });
    }
    duplicates(&drafts, findings);
    // All names are known now, and no CAK may be one of them.
    let names: Vec<_> = drafts.iter().filter_map(|draft| draft.ckn.clone()).collect();
    for (draft, (_, table)) in drafts.iter_mut().zip(tables) {
        let Some(value) = table.get("cak") else { continue };
        let Some(source) = report(read_source(value, context), findings) else { continue };
        draft.source = Some((source.clone(), value.span()));
        let octets = report(read_octets(value, &source, context), findings).flatten();
        let (Some(octets), Some(link)) = (octets, link) else { continue };
        judge_cak(draft, octets, &names, value.span(), link, findings);
        if let Some(profile) = profile {
            lengths(draft, profile, link, findings);
        }
    }
    too_alike(&drafts, findings);
    drafts
}

fn report<T>(result: Result<T, Diagnostic>, findings: &mut Findings) -> Option<T> {
    result.map_err(|error| findings.push(error)).ok()
}

fn read_ckn(value: &Value<'_>, context: &Context<'_>) -> Result<Ckn, Diagnostic> {
    let text = values::text("ckn", value)?;
    let octets = decode_hex(text.as_bytes())
        .map_err(|fault| bad_hex("ckn", fault, digit_span(value.span(), text, fault, context)))?;
    Ckn::new(&octets).map_err(|error| {
        let title = format!("a CKN has at most {} octets", Ckn::MAX_LEN);
        Diagnostic::error(Code::CknLength, title)
            .at(value.span(), format!("{} octets, {} digits", error.0, text.len()))
            .help("give 2 to 64 hexadecimal digits, the same as at the far end")
    })
}

/// Where in the file the fault is: at the digit where it stands in the file as it is, else the
/// whole value.
fn digit_span(
    value: Range<usize>,
    text: &str,
    fault: HexFault,
    context: &Context<'_>,
) -> Range<usize> {
    let HexFault::NotHex(at) = fault else { return value };
    let inside = value.start + 1..value.end.saturating_sub(1);
    if context.text.get(inside.clone()) != Some(text) {
        return value;
    }
    let len = text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
    inside.start + at..inside.start + at + len
}

fn bad_hex(key: &str, fault: HexFault, span: Range<usize>) -> Diagnostic {
    let name = key.to_ascii_uppercase();
    let help = match fault {
        HexFault::Empty | HexFault::NotHex(_) => {
            "write hexadecimal digits only: 0 to 9 and a to f, nothing between them"
        }
        HexFault::Prefix => "leave out the 0x",
        HexFault::Odd(_) => "two digits make an octet; see whether one was lost",
    };
    Diagnostic::error(Code::BadHex, format!("this {name} is not hexadecimal"))
        .at(span, fault.to_string())
        .help(help)
}

fn read_source(value: &Value<'_>, context: &Context<'_>) -> Result<KeySource, Diagnostic> {
    let text = values::text("cak", value)?;
    let fault = match KeySource::parse(text) {
        Ok(KeySource::Inline) if context.is_open => {
            return Err(Diagnostic::error(
                Code::InlineCak,
                "a CAK in a file that others can read",
            )
            .at(value.span(), "this key is not secret")
            .note("it may have been read already: better take a new one")
            .help(
                "make one with `macsecctl keygen PATH` and write `cak = \"file:PATH\"`; or close \
                 the configuration file with `chmod 600`",
            ));
        }
        Ok(source) => return Ok(source),
        Err(fault) => fault,
    };
    let help = "write `file:PATH` or `credential:NAME`";
    Err(match fault {
        SourceFault::Later(scheme) => {
            let title = format!("`{scheme}:` is not in this version");
            Diagnostic::error(Code::NotInThisVersion, title)
                .at(value.span(), "this version reads keys from files and credentials only")
        }
        SourceFault::Nearly(scheme) => {
            Diagnostic::error(Code::KeySource, "a CAK from nowhere that is known")
                .at(value.span(), format!("did you mean `{scheme}:`?"))
        }
        SourceFault::Unknown => {
            Diagnostic::error(Code::KeySource, "a CAK from nowhere that is known")
                .at(value.span(), "neither a known place nor hexadecimal")
        }
        SourceFault::NotAbsolute => {
            Diagnostic::error(Code::KeySource, "`file:` wants an absolute path")
                .at(value.span(), "this path does not start with `/`")
        }
        SourceFault::NotAName => {
            Diagnostic::error(Code::KeySource, "`credential:` wants the name of a credential")
                .at(value.span(), "empty, too long, or a path")
        }
    }
    .help(help))
}

/// Gets the octets of a key; `None` where keys are not to be read.
fn read_octets(
    value: &Value<'_>,
    source: &KeySource,
    context: &Context<'_>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Diagnostic> {
    if *source == KeySource::Inline {
        let text = values::text("cak", value)?;
        return decode_hex(text.as_bytes()).map(Some).map_err(|fault| {
            bad_hex("cak", fault, digit_span(value.span(), text, fault, context))
        });
    }
    let Some(reader) = context.reader else { return Ok(None) };
    let text = reader.read(source).map_err(|error| {
        let show =
            |text: String| if is_reference(&source.to_string()) { text } else { hide(&text) };
        Diagnostic::error(Code::KeyFile, "this key cannot be used")
            .at(value.span(), show(error.to_string()))
            .help(show(error.advice()))
    })?;
    decode_hex(text.trim_ascii_end()).map(Some).map_err(|fault| {
        let label = format!("in what was read from there, {}", in_words(fault));
        bad_hex("cak", fault, value.span()).at(value.span(), label)
    })
}

/// A fault of a file's text, `it` being the text.
fn in_words(fault: HexFault) -> String {
    match fault {
        HexFault::Empty => "there is nothing".to_owned(),
        HexFault::Prefix => "the digits start with 0x".to_owned(),
        HexFault::Odd(digits) => format!("the number of digits is odd, {digits}"),
        HexFault::NotHex(_) => fault.to_string(),
    }
}

/// Takes the octets as a CAK, or says why not.
fn judge_cak(
    draft: &mut KeyDraft,
    octets: Zeroizing<Vec<u8>>,
    names: &[(Ckn, Range<usize>)],
    span: Range<usize>,
    link: &LinkSettings,
    findings: &mut Findings,
) {
    let is_name = |(ckn, _): &&(Ckn, Range<usize>)| bool::from(ckn.octets().ct_eq(&octets));
    if let Some((_, name)) = names.iter().find(is_name) {
        findings.push(
            Diagnostic::error(Code::CakInClear, "this CAK is the same as a CKN")
                .at(span, "this key is no secret")
                .and(name.clone(), "this name goes over the link in clear, in every MKPDU")
                .help("give the key itself; take a new one if this one was ever in use"),
        );
        return;
    }
    let all_equal = octets.windows(2).all(|pair| matches!(pair, [one, next] if one == next));
    if all_equal {
        findings.push(
            Diagnostic::warning(Code::WeakCak, "this CAK is one octet over and over")
                .at(span.clone(), "easy to guess")
                .help("make a random one with `macsecctl keygen`"),
        );
    }
    match fit_cak(octets, link) {
        Ok(fitted) => {
            if let Some(given) = fitted.padded_from {
                findings.push(padded(given, fitted.cak.len(), span));
            }
            draft.padded_from = fitted.padded_from;
            draft.cak = Some(fitted.cak);
        }
        Err(fault) => findings.push(misfit(fault, span)),
    }
}

fn padded(given: usize, len: usize, span: Range<usize>) -> Diagnostic {
    let title = format!("this CAK has {given} octets and was filled up to {len} with zeros");
    Diagnostic::warning(Code::PaddedCak, title)
        .at(span, format!("{} hexadecimal digits of {}", given * 2, len * 2))
        .note("the zeros are no secret: the key is as easy to guess as the part that was given")
        .help("write all digits at both ends, so that neither has to fill it up")
}

fn misfit(fault: CakFault, span: Range<usize>) -> Diagnostic {
    match fault {
        CakFault::Short { octets, padded } => {
            let error = Diagnostic::error(
                Code::ShortCak,
                format!("this CAK has {octets} octets; a CAK has 16 or 32"),
            )
            .at(span, format!("{} hexadecimal digits", octets * 2))
            .help(
                "write all digits; or, if the far end fills a short CAK up with zeros, write \
                 `cak-padding = \"zeros-right\"` in the `[[port]]`",
            );
            match padded {
                Some(len) => error.note(format!(
                    "with zeros after it, it would have {len} octets ({} digits), as the cipher \
                     suite's key has",
                    len * 2
                )),
                None => error,
            }
        }
        CakFault::PadToWhat { octets } => Diagnostic::error(
            Code::ShortCak,
            format!("this CAK has {octets} octets, and it is not clear how many it is to have"),
        )
        .at(span, "16 or 32?")
        .note("the cipher suites of this port have keys of both lengths")
        .help("name suites of one length in `cipher-suites`, or write all digits"),
        CakFault::Length { octets } => Diagnostic::error(
            Code::CakLength,
            format!("this CAK has {octets} octets; a CAK has 16 or 32"),
        )
        .at(span, format!("{} hexadecimal digits", octets * 2))
        .help("give 32 or 64 hexadecimal digits, the same as at the far end"),
    }
}

/// Warns where a key is not as long as the far end is known to want it.
fn lengths(draft: &KeyDraft, profile: &Profile, link: &LinkSettings, findings: &mut Findings) {
    let warn = |span: &Range<usize>, what: &str, has: usize, wants: usize| {
        let title = format!("{} wants a {what} of {wants} octets", profile.name);
        Diagnostic::warning(Code::UnusualLength, title)
            .at(span.clone(), format!("{has} octets"))
            .help(format!("see that the far end has the same {what}, all {} digits", has * 2))
    };
    if let (Some(cak), Some((_, span))) = (&draft.cak, &draft.source) {
        let fits = match profile.cak {
            CakRule::Any => None,
            CakRule::AsSuite => {
                let lengths = link.cipher_suites.iter().map(|suite| suite.sak_len());
                lengths.clone().all(|len| len != cak.len()).then(|| lengths.max()).flatten()
            }
            CakRule::Octets(octets) => Some(octets).filter(|octets| *octets != cak.len()),
        };
        if let Some(wants) = fits {
            findings.push(warn(span, "CAK", cak.len(), wants));
        }
    }
    if let (Some(wants), Some((ckn, span))) = (profile.ckn_octets, &draft.ckn)
        && ckn.octets().len() != wants
    {
        findings.push(warn(span, "CKN", ckn.octets().len(), wants));
    }
}

/// Refuses a name that two keys of a port have.
fn duplicates(drafts: &[KeyDraft], findings: &mut Findings) {
    for (index, draft) in drafts.iter().enumerate() {
        let Some((ckn, span)) = &draft.ckn else { continue };
        let mut earlier = drafts.iter().take(index).filter_map(|draft| draft.ckn.as_ref());
        if let Some((_, first)) = earlier.find(|(other, _)| other == ckn) {
            findings.push(
                Diagnostic::error(Code::DuplicateCkn, "two keys of this port have one CKN")
                    .at(span.clone(), "again")
                    .and(first.clone(), "first here")
                    .help("a CKN names one CAK; give the new key a new name"),
            );
        }
    }
}

/// Refuses two names of one CAK that differ too late, or only in zeros: both would give the same
/// ICK and KEK, and one participant's MKPDUs would pass for the other's (802.1X-2020 9.3.3).
fn too_alike(drafts: &[KeyDraft], findings: &mut Findings) {
    for (index, draft) in drafts.iter().enumerate() {
        let (Some((ckn, span)), Some(cak)) = (&draft.ckn, &draft.cak) else { continue };
        let clash = drafts.iter().take(index).find_map(|earlier| {
            let ((other, first), its_cak) = (earlier.ckn.as_ref()?, earlier.cak.as_ref()?);
            let clash = other != ckn && key_id(other) == key_id(ckn) && its_cak.same_as(cak);
            clash.then_some(first)
        });
        if let Some(first) = clash {
            findings.push(
                Diagnostic::error(Code::CknTooAlike, "two names of one CAK start alike")
                    .at(span.clone(), "gives the same keys")
                    .and(first.clone(), "as this one")
                    .note("only the first 16 octets of a CKN, zeros after a shorter one, enter the keys")
                    .help("take another CAK for the second name, which is what a new key is for"),
            );
        }
    }
}
