// Read callbacks as JSON from stdin, let the library of each gateway verify them, and write one verdict for each.
// A verdict is "" if the library accepts the callback, else the reason.
"use strict";

const { createHmac } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { PayOS } = require("@payos/node");
const CryptoJS = require("crypto-js");
const { VNPay, ignoreLogger } = require("vnpay");

const MOMO = [
  "accessKey", "amount", "extraData", "message", "orderId", "orderInfo", "orderType", "partnerCode", "payType",
  "requestId", "responseTime", "resultCode", "transId",
];

// ZaloPay's samples: HmacSHA256 of crypto-js over the text in data, with key2. Then the text is parsed.
function zalopay({ sent, keys }) {
  const { data, mac } = JSON.parse(sent);
  JSON.parse(data);
  return CryptoJS.HmacSHA256(data, keys.key2).toString() === mac ? "" : "mac not equal";
}

async function payos({ sent, keys }) {
  const unused = "-";
  const client = new PayOS({ clientId: unused, apiKey: unused, checksumKey: keys.checksum_key });
  await client.webhooks.verify(JSON.parse(sent));
  return "";
}

function vnpay({ sent, keys }) {
  const merchant = new VNPay({ tmnCode: keys.tmn_code, secureSecret: keys.hash_secret, loggerFn: ignoreLogger });
  const verdict = merchant.verifyIpnCall(Object.fromEntries(new URLSearchParams(sent)));
  return verdict.isVerified ? "" : verdict.message;
}

// MoMo's samples: name=value in a fixed order, with JavaScript's text of each value, under the secret key.
function momo({ sent, keys }) {
  const { signature, ...body } = JSON.parse(sent);
  const fields = { ...body, accessKey: keys.access_key };
  const text = MOMO.map((name) => `${name}=${fields[name]}`).join("&");
  const own = createHmac("sha256", keys.secret_key).update(text).digest("hex");
  const other = CryptoJS.HmacSHA256(text, keys.secret_key).toString();
  return own === signature && other === signature ? "" : "signature not equal";
}

const JUDGES = { zalopay, payos, vnpay, momo };

async function verdictOn(callback) {
  try {
    return await JUDGES[callback.gateway](callback);
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

Promise.all(JSON.parse(readFileSync(0, "utf-8")).map(verdictOn)).then((verdicts) => {
  process.stdout.write(JSON.stringify(verdicts));
});
