//! Command lines, taken apart as a shell would.

use jecloud_hook_node::command_line::CommandLine;

/// A line with `$PORT` known: assignments and words in brackets, or the shell's argument.
#[track_caller]
fn check(line: &str, expected: &str) {
    let seen = match CommandLine::parse(line, Some("{port:http}")) {
        Ok(CommandLine::Simple(simple)) => {
            let env = simple.env.iter().map(|(name, value)| format!("{name}={value} "));
            env.chain(simple.words.iter().map(|word| format!("[{word}]"))).collect()
        }
        Ok(CommandLine::Shell(shell)) => format!("sh: {}", shell.argv()[2]),
        Err(problem) => format!("problem: {}", problem.message),
    };
    assert_eq!(seen, expected, "{line}");
}

#[test]
fn words_and_quotes() {
    check("node server.js", "[node][server.js]");
    check("  node\tserver.js  ", "[node][server.js]");
    check("node 'my server.js'", "[node][my server.js]");
    check("node \"my server.js\"", "[node][my server.js]");
    check("node a' 'b\" \"c", "[node][a b c]");
    check("node ''", "[node][]");
    check(r#"node "a \"b\" \\ \$c \d""#, r#"[node][a "b" \ $c \d]"#);
    check("node 'a\\b'", "[node][a\\b]");
    check("node --url=http://x:1/?a", "sh: exec node --url=http://x:1/?a");
    check("node --tag=v1.0,b+c@d%e:f", "[node][--tag=v1.0,b+c@d%e:f]");
    check("node a#b", "[node][a#b]");
    check("node ä", "[node][ä]");
}

#[test]
fn what_is_a_template_elsewhere() {
    check("node '{app}'", "[node][{{app}]");
    check("node \"{app}\"", "[node][{{app}]");
    check("node {app}", "sh: exec node {{app}");
    check("node '{{'", "[node][{{{{]");
}

#[test]
fn the_port() {
    check("node a.js -p $PORT", "[node][a.js][-p][{port:http}]");
    check("node a.js -p ${PORT}0", "[node][a.js][-p][{port:http}0]");
    check("node a.js \"0.0.0.0:$PORT\"", "[node][a.js][0.0.0.0:{port:http}]");
    check("node a.js '$PORT'", "[node][a.js][$PORT]");
    check("node a.js $PORTS", "sh: exec node a.js $PORTS");
    check("node a.js ${PORT:-3000}", "sh: exec node a.js ${{PORT:-3000}");
    let without = CommandLine::parse("node a.js $PORT", None).unwrap();
    assert!(matches!(without, CommandLine::Shell(_)), "{without:?}");
}

#[test]
fn variables() {
    check("A=1 node a.js", "A=1 [node][a.js]");
    check("A=1 B='2 3' node a.js C=4", "A=1 B=2 3 [node][a.js][C=4]");
    check("A= node a.js", "A= [node][a.js]");
    check("PORT=$PORT node a.js", "PORT={port:http} [node][a.js]");
    check("'A'=1 node", "[A=1][node]");
    check("1A=1 node", "[1A=1][node]");
    // The host would refuse them as variables of a process.
    check("ENV=production node a.js", "sh: ENV=production node a.js");
    check("LD_PRELOAD=/x.so A=1 node a.js", "sh: LD_PRELOAD=/x.so A=1 node a.js");
    // `exec` takes no assignments.
    check("A=$B node a.js", "sh: A=$B node a.js");
    check("exec node a.js", "[node][a.js]");
    check("A=1 exec node a.js", "A=1 [node][a.js]");
}

#[test]
fn what_needs_a_shell() {
    check("node a.js | tee log", "sh: node a.js | tee log");
    check("node a.js && node b.js", "sh: node a.js && node b.js");
    check("node a.js; node b.js", "sh: node a.js; node b.js");
    check("node a.js &", "sh: node a.js &");
    check("(node a.js)", "sh: (node a.js)");
    check("{ node a.js; }", "sh: {{ node a.js; }");
    check("cd web && node a.js", "sh: cd web && node a.js");
    check("if true; then node a.js; fi", "sh: if true; then node a.js; fi");
    check("export A=1", "sh: export A=1");
    check("[ -f x ]", "sh: [ -f x ]");
    check("exec node a.js > log", "sh: exec node a.js > log");
    // One program: the shell gives way to it.
    check("node a.js > log 2>&1", "sh: exec node a.js > log 2>&1");
    check("node *.js", "sh: exec node *.js");
    check("node $(cat file)", "sh: node $(cat file)");
    check("node `cat file`", "sh: exec node `cat file`");
    check("node \"$HOME/a.js\"", "sh: exec node \"$HOME/a.js\"");
    check("node ~/a.js", "sh: exec node ~/a.js");
    check("node a\\ b.js", "sh: exec node a\\ b.js");
    check("node a.js # ours", "sh: exec node a.js # ours");
}

#[test]
fn what_is_wrong() {
    check("", "problem: there is no command");
    check("A=1", "problem: there is no command");
    check("exec", "problem: there is no command");
    check("node 'a", "problem: a single quote is not closed");
    check("node \"a", "problem: a double quote is not closed");
    check("node \"a | b", "problem: a double quote is not closed");
}

/// What a line is turned into does what a real shell makes of the line: the same words reach the program.
#[test]
fn a_shell_agrees() {
    for line in [
        "printf '%s|' a 'b c' \"d \\\" e\" f'g'\"h\"",
        "printf '%s|' {app} '{app}' x=1",
        "printf '%s|' \"\" 'it'\"'\"'s' a#b",
        "printf '%s|' \"\\$HOME\" '$HOME' \"\\d\"",
    ] {
        let argv = match CommandLine::parse(line, None).unwrap() {
            CommandLine::Simple(simple) => simple.shell_argv(),
            CommandLine::Shell(shell) => shell.argv(),
        };
        // As the host fills templates in.
        let argv: Vec<String> = argv.iter().map(|word| word.replace("{{", "{")).collect();
        assert_eq!(output(&argv), output(&["sh".to_owned(), "-c".to_owned(), line.to_owned()]), "{line}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell is the judge")]
fn output(argv: &[String]) -> String {
    let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().expect("sh");
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
