//! What COPY, ADD and bind mounts read of the context.

use super::super::Selector;
use super::ask;

#[track_caller]
fn reads(body: &str, expected: &str) {
    let text = format!("FROM scratch AS s\nFROM scratch\n{body}\n");
    let (resolved, _) = ask(&text).resolve();
    let inputs =
        resolved.inputs.iter().map(|input| format!("{:?}:{}:{}", input.kind, input.line, input.pattern));
    assert_eq!(inputs.collect::<Vec<_>>().join(" "), expected, "{text}");
}

#[test]
fn what_counts_as_an_input() {
    reads("COPY a b /c", "Copy:3:a Copy:3:b");
    reads("COPY [\"a b\", \"/c\"]", "Copy:3:a b");
    reads("COPY --chown=1:1 --link --chmod=755 ./a /c", "Copy:3:./a");
    reads("COPY --from=s a b", "");
    reads("COPY --from=img a b", "");
    reads("ADD a.tgz https://x/y http://x git@h:p git://g/h ssh://a/b https://h/r.git#v1 /c", "Add:3:a.tgz");
    reads("ADD github.com/a/b HTTP://x /c", "Add:3:github.com/a/b Add:3:HTTP://x");
    reads("COPY <<E a /c\nx\nE", "Copy:3:a");
    reads("RUN --mount=target=/x true", "Bind:3:.");
    reads("RUN --mount=type=bind,source=a,dst=/x --mount=src=b/c,target=/y true", "Bind:3:a Bind:3:b/c");
    reads("ENV A=x\nRUN --mount=type=${T:-bind},source=$A/y,target=/x true", "Bind:4:x/y");
    reads("RUN --mount=type=bind,from=s,source=a,target=/x true", "");
    reads("RUN --mount=type=cache,source=a,target=/x --mount=type=tmpfs,target=/t true", "");
    reads("RUN --mount=type=secret,id=x,required --mount=type=ssh true", "");
    ask("FROM scratch\nCOPY https://x/y /z").fails("", 2, &["only ADD"]);
    let (resolved, _) = ask("FROM scratch AS a\nCOPY unreached .\nFROM scratch\nCOPY r .").resolve();
    assert_eq!(resolved.inputs.len(), 1);
}

#[test]
fn secrets_and_agents_are_asked_for_by_their_ids() {
    for (mounts, expected) in [
        ("type=secret,id=npm", "Secret:npm"),
        ("type=secret,id=npm,required", "Secret:npm!"),
        ("type=secret,id=npm,required=true,target=/root/.npmrc", "Secret:npm!"),
        ("type=secret,id=npm,required=false", "Secret:npm"),
        ("type=secret,target=/run/x/token", "Secret:token"),
        ("type=secret,id=b,source=a", "Secret:a"),
        ("type=secret,id=${K},env=TOKEN", "Secret:key"),
        ("type=ssh", "Ssh:default"),
        ("type=ssh,id=git,required", "Ssh:git!"),
        ("type=cache,id=x,target=/x", ""),
    ] {
        let text = format!("FROM scratch\nARG K=key\nRUN --mount={mounts} true\n");
        let (resolved, _) = ask(&text).resolve();
        let asked = resolved.secrets.iter().map(|mount| {
            assert_eq!(mount.line, 3);
            format!("{:?}:{}{}", mount.kind, mount.id, if mount.is_required { "!" } else { "" })
        });
        assert_eq!(asked.collect::<Vec<_>>().join(" "), expected, "{text}");
    }
    let (resolved, _) =
        ask("FROM scratch AS a\nRUN --mount=type=ssh,required x\nFROM scratch\nRUN y\n").resolve();
    assert!(resolved.secrets.is_empty(), "only what the target reaches asks");
}

const TREE: [&str; 14] = [
    "Dockerfile",
    "a",
    "a/b",
    "a/b/c.go",
    "a/b/d.md",
    "a/e.go",
    "ab",
    "ab/x",
    "go.mod",
    "go.sum",
    "p[1]",
    "z.go",
    "é",
    ".env",
];

#[track_caller]
fn selects(copy: &str, expected: &str) {
    let to = if copy.starts_with("RUN") { "" } else { " /to/" };
    let text = format!("FROM scratch\n{copy}{to}\n");
    let (resolved, diagnostics) = ask(&text).resolve();
    assert_eq!(diagnostics, [], "{text}");
    let selector = Selector::new(&resolved.inputs);
    let selected: Vec<&str> = TREE.into_iter().filter(|path| selector.reads(path)).collect();
    assert_eq!(selected.join(" "), expected, "{text}");
    // A walk that goes only where `walks` says finds all of it.
    for path in &selected {
        let mut above = *path;
        while let Some((folder, _)) = above.rsplit_once('/') {
            assert!(selector.walks(folder), "{text}: {path} needs {folder}");
            above = folder;
        }
        let is_below = |root: &&str| {
            root.is_empty()
                || path.strip_prefix(*root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        assert!(selector.roots().iter().any(is_below), "{text}: {path} needs a root");
    }
}

#[test]
fn selection() {
    let all = TREE.join(" ");
    selects("COPY .", &all);
    selects("COPY /", &all);
    selects("COPY ./", &all);
    selects("COPY ../..", &all);
    selects("COPY a/..", &all);
    selects("COPY a", "a a/b a/b/c.go a/b/d.md a/e.go");
    selects("COPY /a/ ./ab/.", "a a/b a/b/c.go a/b/d.md a/e.go ab ab/x");
    selects("COPY ../a/b", "a/b a/b/c.go a/b/d.md");
    selects("COPY a?", "ab ab/x");
    selects("COPY go.* *.go", "go.mod go.sum z.go");
    selects("COPY */*.go", "a/e.go");
    selects("COPY */b", "a/b a/b/c.go a/b/d.md");
    selects("COPY [a-b]", "a a/b a/b/c.go a/b/d.md a/e.go");
    selects("COPY [^a]", "é");
    selects("COPY p\\\\[1]", "p[1]");
    selects("COPY p[[]1]", "p[1]");
    selects("COPY .*", ".env");
    selects("COPY [x", "");
    selects("COPY nope", "");
    selects("COPY a/**/c.go", "a/b/c.go");
    selects("COPY **/x", "ab/x");
    selects("COPY --exclude=*.go --exclude=b/*.md a", "a a/b a/b/c.go");
    selects(
        "COPY --exclude=**/*.go --exclude=Dockerfile .",
        "a a/b a/b/d.md ab ab/x go.mod go.sum p[1] é .env",
    );
    selects(
        "COPY --exclude=a --exclude=!a/b/c.go .",
        "Dockerfile a/b/c.go ab ab/x go.mod go.sum p[1] z.go é .env",
    );
    // What a pattern names itself is not excluded.
    selects("COPY --exclude=*.go z.go a*", "a a/b a/b/c.go a/b/d.md ab ab/x z.go");
    selects("COPY --parents a/**/*.go", "a/b/c.go a/e.go");
    selects("COPY --parents a/./b", "a/b a/b/c.go a/b/d.md");
    selects("COPY --parents a/./**/*.go go.mod", "a/b/c.go a/e.go go.mod");
    selects("COPY --parents --exclude=**/*.md a", "a a/b a/b/c.go a/e.go");
    selects("RUN --mount=source=a/b,target=/x true", "a/b a/b/c.go a/b/d.md");
}

#[test]
fn walks_only_where_something_may_be_read() {
    let text = "FROM scratch\nCOPY a/b/*.go c/*/d e /to/\n";
    let (resolved, _) = ask(text).resolve();
    let selector = Selector::new(&resolved.inputs);
    assert_eq!(selector.roots(), ["a/b", "c", "e"]);
    for (folder, expected) in [
        ("a", true),
        ("a/b", true),
        ("a/b/x.go", true),
        ("a/b/x", false),
        ("a/c", false),
        ("c/x", true),
        ("c/x/d/y", true),
        ("c/x/e", false),
        ("e/f/g", true),
        ("f", false),
        ("", true),
    ] {
        assert_eq!(selector.walks(folder), expected, "{folder}");
    }
}
