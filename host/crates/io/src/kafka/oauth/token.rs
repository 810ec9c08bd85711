//! A token, and how long it is one.
//!
//! In: the answer of a token endpoint. Out: the token, for whom it is, and when it ends. What a token says of itself is read and not checked.
//! Source: RFC 6749 (5.1), RFC 7519.

use serde_json::Value;

/// How long a token is used that does not say how long it may be.
const UNSAID_MS: i64 = 300_000;
/// No token is used longer than a day without asking again.
const LONGEST_MS: i64 = 86_400_000;

/// A token. It is a secret, and has no [`Debug`].
#[derive(Clone)]
pub(in super::super) struct Token {
    pub text: String,
    /// Whom it is for, where it says so.
    pub subject: Option<String>,
    /// When it ends, and when another one should be there, in milliseconds since 1970 by this machine's clock.
    pub ends_ms: i64,
    pub renewed_ms: i64,
}

impl Token {
    /// Reads an answer that came to a question asked at `now_ms`.
    ///
    /// # Errors
    /// What is wrong with it; never a part of it.
    pub fn read(answer: &[u8], now_ms: i64) -> Result<Self, &'static str> {
        let answer: Value = serde_json::from_slice(answer).map_err(|_| "it is no JSON")?;
        let text = answer.get("access_token").and_then(Value::as_str).ok_or("it has no access_token")?.to_owned();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("its access_token is no token");
        }
        let claims = claims(&text);
        let claim = |name: &str| seconds(claims.as_ref()?.get(name)?);
        // clocks differ: between two times of the same clock there is no error
        let claimed = claim("exp").map(|end| end.saturating_sub(claim("iat").unwrap_or(now_ms)));
        let said = answer.get("expires_in").and_then(seconds);
        let lives = claimed.into_iter().chain(said).min().unwrap_or(UNSAID_MS).min(LONGEST_MS);
        if lives <= 0 {
            return Err("its access_token has ended already");
        }
        let subject = claims.as_ref().and_then(|claims| claims.get("sub")?.as_str()).map(str::to_owned);
        Ok(Self { text, subject, ends_ms: now_ms + lives, renewed_ms: now_ms + lives / 5 * 4 })
    }
}

/// A number of seconds as milliseconds; some servers write it as a text.
fn seconds(value: &Value) -> Option<i64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    Some((number * 1000.0) as i64)
}

/// What a JWT says; nothing for tokens of other kinds.
fn claims(token: &str) -> Option<Value> {
    let mut payload: String = token.split('.').nth(1)?.replace('-', "+").replace('_', "/");
    while !payload.len().is_multiple_of(4) {
        payload.push('=');
    }
    serde_json::from_slice(&openssl::base64::decode_block(&payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_700_000_000_000;

    fn jwt(claims: &Value) -> String {
        let payload = openssl::base64::encode_block(claims.to_string().as_bytes());
        let payload = payload.replace(['=', '\n'], "").replace('+', "-").replace('/', "_");
        format!("eyJhbGciOiJub25lIn0.{payload}.")
    }

    fn read(answer: &Value) -> Result<Token, &'static str> {
        Token::read(answer.to_string().as_bytes(), NOW)
    }

    /// For how many seconds a token is used, and after how many another one is asked for.
    fn lives(answer: &Value) -> (i64, i64) {
        let token = read(answer).unwrap_or_else(|why| panic!("{why}"));
        ((token.ends_ms - NOW) / 1000, (token.renewed_ms - NOW) / 1000)
    }

    #[test]
    fn a_token_says_whom_it_is_for_and_how_long_it_lives() {
        // the two letters are such that its text has a - and a _
        let token = jwt(&json!({"sub": "me ~~~ ???", "iat": 50, "exp": 650}));
        assert!(token.contains('-') || token.contains('_'));
        let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
        assert_eq!(read(&answer).ok().and_then(|token| token.subject).as_deref(), Some("me ~~~ ???"));
        assert_eq!(lives(&answer), (600, 480), "by the endpoint's clock, which is not ours");
        let soon = NOW / 1000 + 100;
        assert_eq!(lives(&json!({"access_token": jwt(&json!({"exp": soon}))})), (100, 80));
        assert_eq!(lives(&json!({"access_token": "opaque", "expires_in": "20"})), (20, 16));
        assert_eq!(lives(&json!({"access_token": "a.!.c"})), (300, 240));
        assert_eq!(lives(&json!({"access_token": "opaque", "expires_in": 1e300})), (86_400, 69_120));
    }

    #[test]
    fn what_is_no_token_is_not_guessed_at() {
        let ended = json!({"access_token": jwt(&json!({"exp": NOW / 1000 - 1}))});
        for answer in [
            json!([]),
            json!({"token": "x"}),
            json!({"access_token": 7}),
            json!({"access_token": ""}),
            json!({"access_token": "a b"}),
            json!({"access_token": "a\u{0}b"}),
            json!({"access_token": "x", "expires_in": 0}),
            ended,
        ] {
            assert!(read(&answer).is_err(), "{answer}");
        }
        assert_eq!(Token::read(b"<html>", NOW).err(), Some("it is no JSON"));
    }
}
