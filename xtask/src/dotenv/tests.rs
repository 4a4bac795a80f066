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

#[test]
fn reads_what_compose_reads() {
    check("A=1\nB=2", &[("A", "1"), ("B", "2")]);
    check("\u{feff}A=1\r\n\r\n# note\r\nB=two words \r\n", &[("A", "1"), ("B", "two words")]);
    check("export A=1\nexport\tB=2\nexport=3\nexport = 4", &[("A", "1"), ("B", "2"), ("export", "4")]);
    check("  A = 1  \n\tB\t=\t2", &[("A", "1"), ("B", "2")]);
    check("A=\nB=   \nC= # note\nD=#alerts", &[("A", ""), ("B", ""), ("C", ""), ("D", "#alerts")]);
    check("A=1 # note\nB=1#no note\nC=a\t#note", &[("A", "1"), ("B", "1#no note"), ("C", "a")]);
    check("A='x # y'\nB=\"x # y\" # note\nC='a' 	# n", &[("A", "x # y"), ("B", "x # y"), ("C", "a")]);
    check(
        "A=(uid=%s)\nB=dc=x,dc=y\nC=It's fine",
        &[("A", "(uid=%s)"), ("B", "dc=x,dc=y"), ("C", "It's fine")],
    );
    check("a.b-c=1\nGITEA__x__Y=2", &[("a.b-c", "1"), ("GITEA__x__Y", "2")]);
    check("A=1\nB=x\nA=2", &[("A", "2"), ("B", "x")]);
    check("A=你好，世界\n", &[("A", "你好，世界")]);
    check("", &[]);
}

#[test]
fn quotes_and_escapes() {
    check(r#"A="a\tb\n\"c\" \\ \$x \q""#, &[("A", "a\tb\n\"c\" \\ $x \\q")]);
    check(r"A='a\n$B'", &[("A", r"a\n$B")]);
    check(r"A=C:\dir\new", &[("A", r"C:\dir\new")]);
    check("A='one\ntwo'\nB=\"three\r\nfour\"\r\nC=5", &[("A", "one\ntwo"), ("B", "three\nfour"), ("C", "5")]);
    check(r"A='it'\''s'", &[("A", "it's")]);
    check(r#"A="x"y'z'"#, &[("A", "xyz")]);
    check("A='# no comment'\n", &[("A", "# no comment")]);
}

#[test]
fn variables_come_from_further_up_only() {
    check("H=h\nP=1\nU=http://${H}:$P/x", &[("H", "h"), ("P", "1"), ("U", "http://h:1/x")]);
    check("LONG_NAME=v\nA=$LONG_NAME/x", &[("LONG_NAME", "v"), ("A", "v/x")]);
    check(
        "A=${X:-d}\nB=${A:+set}\nC=${X+set}\nD=${X-$A}",
        &[("A", "d"), ("B", "set"), ("C", ""), ("D", "d")],
    );
    check("E=\nA=${E:-empty}\nB=${E-unset}", &[("E", ""), ("A", "empty"), ("B", "")]);
    check("A=${X:-${Y:-deep}}\nB=\"${A}\"", &[("A", "deep"), ("B", "deep")]);
    check(
        "A=pa$$word\nB=5$\nC=$1\nD=${\nE=${a b}",
        &[("A", "pa$word"), ("B", "5$"), ("C", "$1"), ("D", "${"), ("E", "${a b}")],
    );
    check("A=$HOME", &[("A", "")]);
    let warnings = Dotenv::parse(".env", "X=1\n  A=$HOME-${PATH}\nX=2").expect("fine").warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(warnings.join("\n"), @r"
    warning: .env:2:3: `$HOME` is not set above in this file and counts as empty
    warning: .env:2:3: `$PATH` is not set above in this file and counts as empty
    warning: .env:3:1: `X` is set more than once; the last one counts
    ");
}

#[test]
fn bad_lines_have_a_place() {
    assert_snapshot!(errors("A=1\nnot a line\n"), @"error: .env:2:5: expected `=` after `not`; a comment begins with `#`");
    assert_snapshot!(errors("A=1\nB=x\0y\n"), @"error: .env:2:4: there is a NUL byte; is the file saved as UTF-16, or no text at all?");
    assert_snapshot!(errors("A=1\n =x\n"), @"error: .env:2:2: expected `KEY=value`: a key begins with a letter or `_`");
    assert_snapshot!(errors("1A=x"), @"error: .env:1:1: expected `KEY=value`: a key begins with a letter or `_`");
    assert_snapshot!(errors("export A"), @"error: .env:1:9: expected `=` after `A`; a comment begins with `#`");
    assert_snapshot!(errors("A='x\nB=1"), @"error: .env:1:3: the quote `'` is never closed");
    assert_snapshot!(errors("\nA= \"x\\\"\n"), @r#"error: .env:2:4: the quote `"` is never closed"#);
    assert_snapshot!(errors("A=\"x\"  y"), @"error: .env:1:8: unexpected text after the closing quote; a comment begins with `#`");
    assert_snapshot!(errors("A=${B:?set B first}"), @"error: .env:1:3: `B` is not set above in this file: set B first");
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
    prop_oneof![4 => line, 1 => "# [a-z ]{0,6}", 1 => Just(String::new())]
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

    #[test]
    fn dotenvy_agrees_where_it_can(
        // dotenvy takes `K=#x` for a comment.
        value in prop_oneof!["([a-z0-9/:.-][a-z0-9/:.#-]{0,8})?", "'[a-z# \n]{0,8}'", "\"[a-z# \n]{0,8}\""],
        spaces in " {0,2}", note in prop_oneof![Just(""), Just(" # note")],
    ) {
        let text = format!("A={spaces}{value}{note}\nB=1\n");
        if let Ok(theirs) = dotenvy::from_read_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>() {
            prop_assert_eq!(Dotenv::parse("f", &text).expect("valid").values(), theirs);
        }
    }
}
