use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let parsed = Dotenv::parse(".env", text).unwrap_or_else(|error| panic!("{error}"));
    let values = parsed.values();
    let values: Vec<(&str, &str)> =
        values.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(values, expected, "{text:?}");
}

fn errors(text: &str) -> String {
    match Dotenv::parse(".env", text) {
        Ok(parsed) => panic!("{text:?} was taken as {:?}", parsed.values()),
        Err(error) => error.to_string(),
    }
}

/// What docker compose 2.26.1 and 2.40.3 read: each text as a file of variables beside a compose file, and the values of
/// `docker compose config --format json`. `v2.26` says where the older one differs.
#[test]
fn reads_what_compose_reads() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("compose-cases.json")).expect("cases");
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let read = Dotenv::parse(".env", case["text"].as_str().expect("a text"));
            let found = match &read {
                Ok(parsed) => serde_json::json!(parsed.values().into_iter().collect::<BTreeMap<_, _>>()),
                Err(_) => serde_json::Value::Null,
            };
            let is_refused = found.is_null() && case["v2.26"].is_string();
            (found != case["values"] && !is_refused)
                .then(|| format!("{case}\n  is read as {found} {:?}", read.err()))
        })
        .collect();
    assert_eq!(wrong, Vec::<String>::new(), "{}", wrong.join("\n"));
    assert!(cases.len() > 200, "{}", cases.len());
}

#[test]
fn variables_come_from_further_up_only() {
    check("A=$HOME", &[("A", "")]);
    let warnings = Dotenv::parse(".env", "X=1\n  A=$HOME-${PATH}\nX=2").expect("fine").warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(warnings.join("\n"), @r"
    warning: .env:2:3: `$HOME` is set neither above in this file nor in the environment and counts as empty
    warning: .env:2:3: `$PATH` is set neither above in this file nor in the environment and counts as empty
    warning: .env:3:1: `X` is set more than once; the last one counts
    ");
}

#[test]
fn variables_come_from_outside_too_and_who_knows_better_is_said() {
    let (text, outside) = ("X=1\nA=$X-$HOME-${NO:-d}", |name: &str| match name {
        "X" => Some("2".to_owned()),
        "HOME" => Some("/me".to_owned()),
        _ => None,
    });
    let a = |read: Result<Dotenv, _>| read.expect("fine").get("A").expect("set").value.clone();
    assert_eq!(a(Dotenv::parse_or("f", text, &outside)), "1-/me-d");
    assert_eq!(a(Dotenv::parse_within("f", text, &outside)), "2-/me-d");
    // Whose value nobody asks for need not be there.
    assert!(sync(("e", "A=${X:?must}"), ("c", Some("B=${Y?must}"))).is_ok());
}

#[test]
fn odd_lines_are_told() {
    let text = "A=\"x\" y\n=x\nB=1 # n\nC='x'D=2";
    let parsed = Dotenv::parse(".env", text).expect("as compose lets it pass");
    let told: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(told.join("\n"), @r#"
    warning: .env:1:7: compose takes `y` behind the closing quote for a setting of its own; a comment begins with `#`
    warning: .env:2:1: `=x` sets nothing: there is no name before the value
    warning: .env:4:6: compose takes `D=2` behind the closing quote for a setting of its own; a comment begins with `#`
    "#);
}

#[test]
fn bad_lines_have_a_place() {
    let of = |text| errors(text);
    assert_snapshot!(of("A=1\nnot a line\n"), @r#"error: .env:2:5: expected `=` after `not`; a comment begins with `#`"#);
    assert_snapshot!(of("A=1\nB=x\0y\n"), @"error: .env:2:4: there is a NUL byte; is the file saved as UTF-16, or no text at all?");
    assert_snapshot!(of("A=1\n;x\n"), @r#"error: .env:2:1: expected a name, found `;`: a comment begins with `#`"#);
    assert_snapshot!(of("LONE # note\n"), @r#"error: .env:1:6: expected `=` after `LONE`, found `#`: a comment is a line of its own, or stands behind a value"#);
    assert_snapshot!(of("A=\"x\"\"y\"\n"), @r#"error: .env:1:6: expected a name, found `"`: nothing may cling to a closing quote, and a name has none"#);
    assert_snapshot!(of("'A'=1\n"), @r#"error: .env:1:1: expected a name, found `'`: nothing may cling to a closing quote, and a name has none"#);
    assert_snapshot!(of("A/B=1\n"), @r#"error: .env:1:2: expected `=` after `A`, found `/`: a comment begins with `#`"#);
    assert_snapshot!(of("export "), @r#"error: .env:1:8: expected a name after `export`"#);
    assert_snapshot!(of("A='x\nB=1"), @r#"error: .env:1:3: the quote `'` is never closed; `\'` does not close it"#);
    assert_snapshot!(of("\nA= \"x\\\"\n"), @r#"error: .env:2:4: the quote `"` is never closed; `\"` does not close it"#);
    assert_snapshot!(of("A=1\nC=${B\n"), @r#"error: .env:2:3: `${B` is no form of a variable; `$$` stands for a dollar"#);
    assert_snapshot!(of("A=${B:?set B first}"), @r#"error: .env:1:3: the variable B is not set: set B first"#);
}

#[track_caller]
fn check_sync(example: &str, current: Option<&str>) -> String {
    let synced = sync((".env.example", example), (".env", current)).unwrap_or_else(|e| panic!("{e}"));
    if let Some(current) = current {
        assert!(synced.text.starts_with(current), "the old text is kept, byte for byte");
    }
    let again = sync((".env.example", example), (".env", Some(&synced.text))).expect("fine");
    assert!(again.missing.is_empty() && again.text == synced.text, "a second run has nothing to do");
    format!("{:?} missing {:?} extra {:?}", synced.text, synced.missing, synced.extra)
}

#[test]
fn sync_appends_what_is_missing() {
    let example = "# Head\n\n# The host\n# of it\nHOST=h\nPORT=1\n\n# Two\nKEY='a\nb' # note\n";
    assert_snapshot!(check_sync(example, None), @r##""# Head\n\n# The host\n# of it\nHOST=h\nPORT=1\n\n# Two\nKEY='a\nb' # note\n" missing ["HOST", "PORT", "KEY"] extra []"##);
    assert_snapshot!(check_sync(example, Some("PORT=2")), @r##""PORT=2\n\n# The host\n# of it\nHOST=h\n# Two\nKEY='a\nb' # note\n" missing ["HOST", "KEY"] extra []"##);
    assert_snapshot!(check_sync(example, Some("")), @r##""# The host\n# of it\nHOST=h\nPORT=1\n# Two\nKEY='a\nb' # note\n" missing ["HOST", "PORT", "KEY"] extra []"##);
    assert_snapshot!(check_sync(example, Some("KEY=1\r\nOWN=2\r\nHOST=\r\n")), @r#""KEY=1\r\nOWN=2\r\nHOST=\r\n\r\nPORT=1\r\n" missing ["PORT"] extra ["OWN"]"#);
    assert_snapshot!(check_sync("A=1\r\nexport B=2\r\n", Some("A=9\n\n")), @r#""A=9\n\nexport B=2\n" missing ["B"] extra []"#);
    assert_snapshot!(check_sync("A=1\nA=2\n", Some("B=1\n")), @r#""B=1\n\nA=2\n" missing ["A"] extra ["B"]"#);
    assert_snapshot!(check_sync("A=1\n", Some("A=1")), @r#""A=1" missing [] extra []"#);
    assert_snapshot!(check_sync("A=1\nB=\"x\r\ny\" # n\nC\n", Some("A\r\nD=1\r\n")), @r#""A\r\nD=1\r\n\r\nB=\"x\r\ny\" # n\r\n" missing ["B"] extra ["D"]"#);
    assert_snapshot!(check_sync("", Some("# only a note")), @r##""# only a note" missing [] extra []"##);
}

fn entry() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[a-z0-9 /:.#-]{0,8}",
        "'[a-z #\n\"]{0,8}'",
        "\"[a-z #\n']{0,8}\"",
        Just("$A-${B:-x}".to_owned()),
    ];
    let line =
        ("(export )?", "[A-D]{1,2}", value).prop_map(|(export, key, value)| format!("{export}{key}={value}"));
    prop_oneof![4 => line, 1 => "# [a-z ]{0,6}", 1 => Just(String::new()), 1 => Just("LONE".to_owned())]
}

fn file() -> impl Strategy<Value = String> {
    (prop::collection::vec(entry(), 0..8), prop_oneof!["\n", "\r\n"], any::<bool>())
        .prop_map(|(lines, newline, ended)| lines.join(&newline) + if ended { newline.as_str() } else { "" })
}

proptest! {
    #[test]
    fn a_synced_file_has_every_key_and_stays(example in file(), current in prop::option::of(file())) {
        let synced = sync(("e", &example), ("c", current.as_deref())).expect("generated files are valid");
        let result = Dotenv::parse("r", &synced.text).expect("the result is valid");
        for (key, _) in Dotenv::parse("e", &example).expect("valid").values() {
            prop_assert!(result.get(&key).is_some(), "{key} of the example");
        }
        if let Some(current) = &current {
            prop_assert!(synced.text.starts_with(current.as_str()));
            for (key, value) in Dotenv::parse("c", current).expect("valid").values() {
                prop_assert_eq!(&result.get(&key).expect("kept").value, &value);
            }
        }
        let again = sync(("e", &example), ("c", Some(&synced.text))).expect("valid");
        prop_assert_eq!(again.text, synced.text);
        prop_assert!(again.missing.is_empty());
    }

    #[test]
    fn no_text_makes_it_panic(text in "[A-C=$'\"{}:?#\\\\ \r\né-]{0,24}") {
        let _ = Dotenv::parse("f", &text);
    }
}
