use serde_json::{Value, json};

use super::{Budget, Declared, Fault, Scope, Val, Yields, compile};

fn evaluate(text: &str, this: &Value) -> Result<Value, String> {
    let scope = Scope { variables: &[Declared::open("self")], ..Scope::default() };
    let (expression, _) = compile(text, scope, Yields::Anything)?;
    let variables = [Val::of(this)];
    let found = expression.evaluate(&variables, &Budget::new(Budget::OF_ONE));
    found.and_then(|found| found.to_json()).map_err(|fault| fault.to_string())
}

fn this() -> Value {
    json!({
        "name": "web-1", "count": 3, "ratio": 0.5, "empty": "", "when": "2026-01-02T03:04:05Z",
        "list": [3, 1, 2], "map": {"a": 1, "b": 2}, "ports": [{"p": 80}, {"p": 443}],
    })
}

#[track_caller]
fn all(rows: &[(&str, Value)]) {
    for (text, expected) in rows {
        assert_eq!(evaluate(text, &this()).as_ref(), Ok(expected), "{text}");
    }
}

#[track_caller]
fn faults(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        assert_eq!(evaluate(text, &this()), Err((*expected).to_owned()), "{text}");
    }
}

#[test]
fn values_are_computed() {
    all(&[
        ("1 + 2 * 3 - 4 / 2 % 3", json!(5)),
        ("-(2)", json!(-2)),
        ("1u + 2u", json!(3)),
        ("1.5 + 0.5 == 2.0", json!(true)),
        ("1 < 1.5 && 2u > 1 && 3 >= 3.0", json!(true)),
        ("'a' + 'b' == \"ab\"", json!(true)),
        ("[1, 2] + [3]", json!([1, 2, 3])),
        ("{'x': 1}.x + {'y': 2}['y']", json!(3)),
        ("self.count > 2 ? 'many' : 'few'", json!("many")),
        ("2 in self.list && 'a' in self.map && !('z' in self.map)", json!(true)),
        ("has(self.count) && !has(self.nothing)", json!(true)),
        ("self.ports[1].p", json!(443)),
        ("type(self.list) == list && type(1) == int && type(self.map) == map", json!(true)),
        ("int('7') + int(2.9) + size(string(10))", json!(11)),
        ("self.map == {'b': 2.0, 'a': 1.0}", json!(true)),
        ("true || 1 / 0 == 1", json!(true)),
        ("1 / 0 == 1 || true", json!(true)),
        ("false && self.nothing", json!(false)),
    ]);
}

#[test]
fn macros_go_through_lists_and_maps() {
    all(&[
        ("self.list.all(x, x > 0) && self.list.exists(x, x == 2)", json!(true)),
        ("self.list.exists_one(x, x > 2)", json!(true)),
        ("self.list.map(x, x * 2)", json!([6, 2, 4])),
        ("self.list.filter(x, x > 1).map(x, [x, x])", json!([[3, 3], [2, 2]])),
        ("self.list.map(x, x > 1, x + 1)", json!([4, 3])),
        ("self.map.all(k, self.map[k] > 0)", json!(true)),
        ("self.list.map(x, self.list.filter(y, y < x).size())", json!([2, 0, 1])),
        ("self.list.all(i, v, i < 3 && v < 4)", json!(true)),
        ("self.map.exists(k, v, k == 'b' && v == 2)", json!(true)),
        ("self.list.transformList(i, v, i + v)", json!([3, 2, 4])),
        ("self.map.transformMap(k, v, v > 1, k + 'x')", json!({"b": "bx"})),
        ("self.map.transformMapEntry(k, v, {string(v): k})", json!({"1": "a", "2": "b"})),
        ("self.ports.sortBy(p, -p.p).map(p, p.p)", json!([443, 80])),
        ("[0, 2].exists(x, 4 / x == 2)", json!(true)),
    ]);
    faults(&[("[0, 3].exists(x, 4 / x == 2)", "division by zero")]);
}

#[test]
fn functions_of_texts_and_lists() {
    all(&[
        ("self.name.startsWith('web') && self.name.endsWith('-1')", json!(true)),
        ("self.name.matches('^web-[0-9]+$') && self.name.contains('b-')", json!(true)),
        ("'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2)[1] == 'b,c'", json!(true)),
        ("['a', 'b'].join('-') + 'äöü'.charAt(1)", json!("a-bö")),
        ("'hello'.indexOf('l') + 'hello'.lastIndexOf('l') + 'hello'.indexOf('x')", json!(4)),
        ("'hello'.substring(1, 3) + 'Ab'.lowerAscii() + 'x'.upperAscii()", json!("elabX")),
        ("'aXbX'.replace('X', '-') + 'aXbX'.replace('X', '', 1)", json!("a-b-abX")),
        ("' a '.trim() + 'abc'.reverse()", json!("acba")),
        ("'abc 123 45'.find('[0-9]+') + 'a1b2'.findAll('[0-9]')[1]", json!("1232")),
        ("self.list.sum() + self.list.min() + self.list.max()", json!(10)),
        ("self.list.isSorted() || [1, 2].isSorted()", json!(true)),
        ("self.list.sort() == [1, 2, 3] && self.list.indexOf(1) == 1", json!(true)),
        ("[[[1]], [[2], [3]]].flatten() == [[1], [2], [3]]", json!(true)),
        ("[1, 1, 2].distinct() == [1, 2] && [1, 2, 3].slice(1, 3) == [2, 3]", json!(true)),
        ("sets.contains([1, 2], [2]) && sets.intersects([1], [1, 2])", json!(true)),
        ("sets.equivalent([1, 2], [2, 1, 1]) && lists.range(3) == [0, 1, 2]", json!(true)),
        ("'%s is %d of %.2f%%'.format(['x', 3, 1.5])", json!("x is 3 of 1.50%")),
        ("'%s %s'.format([[1, 2], {'k': true}])", json!("[1, 2] {k: true}")),
    ]);
}

#[test]
fn functions_that_kubernetes_adds() {
    all(&[
        ("quantity('1Gi').isGreaterThan(quantity('1G'))", json!(true)),
        ("quantity('500m').add(quantity('1500m')).asInteger()", json!(2)),
        ("quantity('50k').compareTo(quantity('50000')) == 0 && isQuantity('1.5Mi')", json!(true)),
        ("!isQuantity('1x') && quantity('1.5').sub(1).sign() == 1", json!(true)),
        ("isIP('10.0.0.1') && !isIP('10.0.0.256') && ip('::1').family() == 6", json!(true)),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", json!(true)),
        ("cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))", json!(true)),
        ("cidr('10.1.2.3/8').masked().ip() == ip('10.0.0.0')", json!(true)),
        ("ip('127.0.0.1').isLoopback() && ip.isCanonical('::1')", json!(true)),
        ("url('https://a.example:8443/p/q?x=1').getHost()", json!("a.example:8443")),
        ("url('https://a.example/p').getEscapedPath() + url('/z').getScheme()", json!("/p")),
        ("isURL('https://a') && !isURL('a b')", json!(true)),
        (
            "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.2.3-rc.1').patch() == 3",
            json!(true),
        ),
        ("isSemver('v1.2', true) && !isSemver('v1.2')", json!(true)),
        ("format.dns1123Label().validate('my-name').hasValue()", json!(false)),
        (
            "format.named('dns1123Label').value().validate('My').value()[0].contains('lower case')",
            json!(true),
        ),
        ("timestamp(self.when).getFullYear() + timestamp(self.when).getMonth()", json!(2026)),
        ("timestamp(self.when) + duration('1h') > timestamp('2026-01-02T04:00:00Z')", json!(true)),
        ("duration('90m').getHours() + duration('90m').getMinutes()", json!(91)),
        ("self.?nothing.orValue('none') + self.?name.orValue('')", json!("noneweb-1")),
        ("self.?map.?a.optMap(x, x + 1).value()", json!(2)),
        ("[?self.?nothing, self.count] == [3] && optional.of(1).hasValue()", json!(true)),
    ]);
}

#[test]
fn what_is_wrong_is_said_as_upstream_says_it() {
    faults(&[
        ("self.nothing", "no such key: nothing"),
        ("self['nothing']", "no such key: nothing"),
        ("self.list[9]", "index out of bounds: 9"),
        ("self.count / 0", "division by zero"),
        ("self.count % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("self.name + 1", "no such overload"),
        ("self.name > 1", "no such overload"),
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("optional.none().value()", "optional.none() dereference"),
        ("'x'.charAt(7)", "index out of range: 7"),
    ]);
    for text in ["nothing", "self.name.frobnicate()", "frobnicate(1)", "thing.frobnicate(1)"] {
        let why = evaluate(text, &this()).unwrap_err();
        assert!(why.contains("undeclared reference to"), "{text}: {why}");
    }
}

#[test]
fn what_costs_too_much_ends() {
    let big: Vec<_> = (0..2000).collect();
    let big = json!({"list": big, "text": "x".repeat(100_000)});
    let costs = Fault::Cost.to_string();
    for text in [
        "self.list.all(x, self.list.all(y, x + y >= 0))",
        "self.list.map(x, self.list.map(y, [x, y])).size() > 0",
        "self.list.all(x, !self.text.contains('xxxxxxxxxxxxxxxxxxy' + string(x)))",
        "self.list.all(x, self.text.replace('x', self.text) != '')",
        "self.list.distinct().distinct().size() == 2000",
    ] {
        assert_eq!(evaluate(text, &big), Err(costs.clone()), "{text}");
    }
}
