//! HKDF and HMAC against RFC 5869 (appendix A) and RFC 4231 (§4).

use hmac::{Hmac, KeyInit, Mac};

use super::*;
use crate::vectors::{hex, unhex};

fn hkdf<const N: usize>(salt: &[u8], ikm: &[u8], info: &[u8]) -> String {
    let mut okm = [0; N];
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, &mut okm).unwrap();
    hex(okm)
}

#[test]
fn hkdf_agrees_with_rfc_5869_cases_2_and_3() {
    let range = |from: u8, to: u8| (from..=to).collect::<Vec<_>>();
    assert_eq!(
        hkdf::<82>(&range(0x60, 0xaf), &range(0x00, 0x4f), &range(0xb0, 0xff)),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8\
         367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
    );
    assert_eq!(
        hkdf::<42>(&[], &[0x0b; 22], &[]),
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    );
}

#[test]
fn hmac_agrees_with_rfc_4231() {
    let counted: Vec<u8> = (0x01..=0x19).collect();
    let cases: [(&[u8], &[u8], &str); 6] = [
        (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (&counted, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &[0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be \
              hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];
    for (key, data, expected) in cases {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(data);
        assert_eq!(hex(mac.clone().finalize().into_bytes()), expected);
        let mut wrong = unhex(expected);
        wrong[31] ^= 1;
        assert!(mac.clone().verify_slice(&wrong).is_err());
        assert!(mac.verify_slice(&unhex(expected)[..31]).is_err(), "a cut tag");
    }
}
