use super::*;

fn shown(node: &Node) -> String {
    let tag = match node.tag {
        Some(NodeTag::Reset) => "!reset ",
        Some(NodeTag::Override) => "!override ",
        None => "",
    };
    let value = match &node.value {
        Value::Null => "null".to_owned(),
        Value::Text(text) | Value::Broken(text) => format!("{text:?}"),
        Value::List(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, node)| format!("{key}@{}: {}", node.line, shown(node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    };
    format!("{tag}{value}")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let found = match parse("f", text) {
        Ok(documents) => documents.iter().map(shown).collect::<Vec<_>>().join(" --- "),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected, "{text}");
}

#[test]
fn scalars_are_spelled_as_compose_sees_them() {
    for (text, expected) in [
        ("1.10", "1.1"),
        ("010", "8"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("1_000.5", "1000.5"),
        ("-9223372036854775809", "-9.223372036854776e+18"),
        ("1e309", "1e309"),
        ("1e3", "1000"),
        ("1e30", "1e+30"),
        ("0.00001", "1e-05"),
        ("-0", "0"),
        ("1.2.3", "1.2.3"),
        ("1.e", "1.e"),
        ("'1.10'", "1.10"),
        ("!!str 1.10", "1.10"),
        ("TRUE", "true"),
        ("1000000.0", "1e+06"),
        ("-.inf", "-Inf"),
        ("yes", "yes"),
        ("- ", "[null]"),
    ] {
        let quoted = if expected.starts_with('[') { expected.to_owned() } else { format!("{expected:?}") };
        check(text, &quoted);
    }
}

#[test]
fn parts_know_where_they_stand() {
    check("a:\n  b: x # c\n  c:\n    - y\n", "{a@1: {b@2: \"x\", c@3: [\"y\"]}}");
    check("a: 1\n---\nb: 2\n", "{a@1: \"1\"} --- {b@3: \"2\"}");
    check("a: !reset null\nb: !override [x]\n", "{a@1: !reset null, b@2: !override [\"x\"]}");
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    check(
        "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 5\n",
        "{x@1: {a@1: \"1\", b@1: \"2\"}, y@2: {b@2: \"3\", c@2: \"4\"}, z@3: {a@5: \"5\", b@1: \"2\", c@2: \"4\"}}",
    );
    check("a: &a [*a]\n", "error: f:1: an alias stands within what it stands for");
    check("a: *b\n", "error: f:1:4: while parsing node, found unknown anchor");
    check("a: 1\na: 2\n", "error: f:2: the key `a` stands here for a second time");
    let tab = parse("f", "a:\n\tb: 1\n").expect_err("a tab").place();
    assert_eq!(tab, "f:2:2");
}

#[test]
fn wide_mappings_are_read_in_one_go() {
    let wide = |from: usize| (from..from + 100_000).map(|n| format!("k{n}: 1\n")).collect::<String>();
    assert_eq!(parse("f", &wide(0)).expect("a mapping")[0].entries().len(), 100_000);
    let flow = |from| format!("{{{}}}", wide(from).trim_end().replace('\n', ", "));
    let merged = format!("x: &x {}\ny:\n  <<: *x\n  k1: 2\n", flow(0));
    let merged = parse("f", &merged).expect("merged");
    let y = merged[0].get("y").expect("y");
    assert_eq!((y.entries().len(), y.get("k1").expect("k1").text()), (100_000, Ok("2")));
    let twice = parse("f", &format!("{}k5: 2\n", wide(0))).expect_err("a key that stands twice");
    assert_eq!(twice.to_string(), "error: f:100001: the key `k5` stands here for a second time");
}

#[test]
fn nothing_is_kept_often_in_anchors_that_stand_in_each_other() {
    let many = "x, ".repeat(20_000);
    let text: String = (0..50).map(|n| format!("&a{n} [")).collect::<String>() + &many + &"]".repeat(50);
    let error = parse("f", &text).expect_err("too much").to_string();
    assert!(error.contains("more parts"), "{error}");
    check("&a [&b [&c {k: &d v}, *d]]", "[[{k@1: \"v\"}, \"v\"]]");
}

#[test]
fn text_of_two_bytes_a_letter_is_read_where_a_mark_says_so() {
    let two =
        |of: fn(u16) -> [u8; 2]| -> Vec<u8> { "\u{feff}a: é𝄞".encode_utf16().flat_map(of).collect() };
    for bytes in [two(u16::to_le_bytes), two(u16::to_be_bytes), "\u{feff}a: é𝄞".as_bytes().to_vec()] {
        let text = decoded(bytes).expect("text");
        assert_eq!(shown(&parse("f", &text).expect("YAML")[0]), "{a@1: \"é𝄞\"}");
    }
    assert!(decoded(vec![0xff, 0xfe, b'a']).is_err());
    assert!(decoded(vec![b'a', 0xe9]).is_err());
}

#[test]
fn no_aliases_fill_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{before}]\n"));
    }
    let error = parse("f", &text).expect_err("too much").to_string();
    assert!(error.contains("more parts"), "{error}");
}
