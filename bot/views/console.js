// Asks a passkey and sends its answer with the form that the question came with.
// It sends nothing by itself, loads nothing, and keeps nothing.
"use strict";
(() => {
  const form = document.querySelector("form[data-ceremony]");
  if (!form) return;
  const button = form.querySelector("button");
  const told = form.querySelector("[role=alert]");
  const label = button.textContent;

  const decode = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const encode = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const decoded = (list) => (list || []).map((c) => ({ ...c, id: decode(c.id) }));

  async function ask() {
    const o = JSON.parse(form.dataset.options);
    o.challenge = decode(o.challenge);
    if (form.dataset.ceremony === "create") {
      o.user.id = decode(o.user.id);
      o.excludeCredentials = decoded(o.excludeCredentials);
      return navigator.credentials.create({ publicKey: o });
    }
    o.allowCredentials = decoded(o.allowCredentials);
    return navigator.credentials.get({ publicKey: o });
  }

  function answer(c) {
    const r = c.response;
    const response = { clientDataJSON: encode(r.clientDataJSON) };
    if (r.attestationObject) {
      response.attestationObject = encode(r.attestationObject);
      response.transports = r.getTransports ? r.getTransports() : [];
    } else {
      response.authenticatorData = encode(r.authenticatorData);
      response.signature = encode(r.signature);
      if (r.userHandle) response.userHandle = encode(r.userHandle);
    }
    return JSON.stringify({ id: c.id, rawId: encode(c.rawId), type: c.type, response, clientExtensionResults: c.getClientExtensionResults() });
  }

  const words = {
    NotAllowedError: "Your device did not answer, or you said no. Nothing was done. Try again.",
    InvalidStateError: "This device has a passkey here already. Nothing was done.",
    SecurityError: "Your browser does not allow passkeys on this address. Nothing was done. Tell an administrator.",
    NotSupportedError: "Your device offers no passkey that fits. Nothing was done. Use another one.",
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    button.textContent = "Waiting for your passkey …";
    told.textContent = "";
    try {
      if (!window.PublicKeyCredential) throw new DOMException("", "NotSupportedError");
      form.elements.credential.value = answer(await ask());
      button.textContent = "Sending …";
      form.submit();
    } catch (problem) {
      told.textContent = words[problem.name] || "The passkey could not be asked. Nothing was done. Load the page again.";
      button.disabled = false;
      button.textContent = label;
    }
  });
})();
