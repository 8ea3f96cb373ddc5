//! What of CEL a condition may be made of: no loops, no function that there is not, and no deeper than is evaluated on a
//! request's stack. Found out before anything is evaluated.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use crate::limits::{CONDITION_DEPTH, CONDITION_NODES};

/// CEL's own functions; its operators have names that are no words.
const FUNCTIONS: [&str; 12] =
    ["contains", "startsWith", "endsWith", "matches", "size", "string", "int", "uint", "double", "bool", "min", "max"];

/// The names that an expression uses; or what it may not be made of, and the word that says so.
pub(super) fn names<'a>(
    expression: &'a IdedExpr,
    ours: &dyn Fn(&str) -> bool,
) -> Result<Vec<&'a str>, (String, Option<&'a str>)> {
    let (mut names, mut left, mut nodes) = (Vec::new(), vec![(expression, 0)], 0);
    while let Some((expression, depth)) = left.pop() {
        nodes += 1;
        if depth > CONDITION_DEPTH || nodes > CONDITION_NODES {
            return Err(("it is nested too deeply, or too long".to_owned(), None));
        }
        let mut also = |inner: &'a IdedExpr| left.push((inner, depth + 1));
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => names.push(name.as_str()),
            Expr::Select(select) => also(&select.operand),
            Expr::List(list) => list.elements.iter().for_each(also),
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let word = name.starts_with(|c: char| c.is_ascii_alphabetic());
                if word && !FUNCTIONS.contains(&name) && !ours(name) {
                    return Err((format!("there is no function `{name}`"), Some(name)));
                }
                call.target.iter().for_each(|target| also(target));
                call.args.iter().for_each(also);
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            also(&entry.key);
                            also(&entry.value);
                        }
                        EntryExpr::StructField(field) => also(&field.value),
                    }
                }
            }
            Expr::Comprehension(_) => {
                return Err(("a condition has no loops (`all`, `exists`, `map`, `filter`)".to_owned(), None));
            }
            Expr::Struct(_) => return Err(("a condition makes no messages".to_owned(), None)),
        }
    }
    Ok(names)
}
