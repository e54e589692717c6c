// A page of Specter Desktop 2.1 as far as the extension's script can see it: the dialogs for devices, and a server whose
// answers the test gives. Run by node: page.js SCRIPT, with the scene (code that ends with a value) on stdin.
"use strict";
const fs = require("fs");
const util = require("util");
const vm = require("vm");

class Element {
    constructor(id = "") {
        Object.assign(this, { id, style: {}, children: [], parent: null, listeners: [], value: "", text: "" });
    }
    get textContent() { return this.text; }
    set textContent(text) { this.text = text; }
    get innerHTML() { return this.text; }
    set innerHTML(text) { this.text = text; this.children = []; page.html.push(text); }
    get firstElementChild() { return this.children[0]; }
    addEventListener(_, listener) { this.listeners.push(listener); }
    click() { if (!this.disabled) this.listeners.slice().forEach((listener) => listener({})); }
    focus() {}
    appendChild(child) { child.remove(); child.parent = this; this.children.push(child); return child; }
    remove() { if (this.parent) this.parent.children = this.parent.children.filter((one) => one !== this); }
    cloneNode() { return new Element(this.id); }
    replaceWith(other) { this.remove(); elements[other.id] = other; }
    querySelector(tag) { return elements[`${this.id} ${tag}`]; }
}

const elements = {};
for (const id of ["hwi_selector_container", "passphrase-input", "passphrase-submit-btn", "hwi_passphrase", "hwi_passphrase h2"]) {
    elements[id] = new Element(id);
}
elements["hwi_passphrase"].appendChild(new Element());
elements["hwi_passphrase h2"].textContent = "Enter Passphrase";

const page = {
    html: [], logged: [], errors: [], sent: [], overlay: false, answers: {},
    /** Lets everything that waits go on. */
    settle: async () => {
        for (let turn = 0; turn < 20; turn += 1) {
            await new Promise((done) => setTimeout(done, 2));
        }
    },
};
const context = vm.createContext({
    page, elements, setTimeout,
    document: { getElementById: (id) => elements[id], createElement: () => new Element(), querySelector: (all) => elements[all.slice(1)] },
    console: { log: (...values) => page.logged.push(...values), error: (...values) => page.logged.push(...values) },
    showError: (text) => page.errors.push(text),
    hidePageOverlay: () => { page.overlay = false; },
});
context.window = context;
vm.runInContext(`
    const wait = () => new Promise((done) => setTimeout(done, 2));
    class HWIBridge {
        async requestToHwiBridge(method, params = {}) {
            page.sent.push(JSON.parse(JSON.stringify({ method, ...params })));
            const answer = page.answers[method];
            if (answer.error) throw answer.error;
            return JSON.parse(JSON.stringify(answer));
        }
        async enumerate(passphrase = "") { return this.requestToHwiBridge("enumerate", { passphrase }); }
        async signTx(device, psbt) {
            return this.requestToHwiBridge("sign_tx", { device_type: device.type, path: device.path, passphrase: device.passphrase, psbt });
        }
    }
    var hwi = new HWIBridge();
    function handleHWIError(error) { console.error(error); showError(error.message !== undefined ? error.message : error); page.overlay = false; }
    async function enumerate(types = null, path = null, passphrase = "") {
        try {
            const found = await hwi.enumerate(passphrase);
            return found.filter((one) => (types === null || types.includes(one.type)) && (path === null || one.path == path));
        } catch (error) { handleHWIError(error); return null; }
    }
    async function enterPassphrase(device) {
        const input = document.getElementById("passphrase-input");
        let result = null;
        document.getElementById("passphrase-submit-btn").addEventListener("click", () => { result = input.value; input.value = ""; });
        page.overlay = true;
        while (result == null) { await wait(); if (!page.overlay) return null; }
        return result;
    }
    async function selectDevice(devices, passphrase = null) {
        const list = document.getElementById("hwi_selector_container");
        let selected = null;
        list.innerHTML = "";
        devices.forEach((one) => {
            const button = document.createElement("button");
            button.innerHTML = one.type + " - needs password";
            button.addEventListener("click", () => { selected = one; });
            list.appendChild(button);
        });
        page.overlay = true;
        while (selected == null) { await wait(); if (!page.overlay) return null; }
        try {
            if (passphrase == null && selected.needs_passphrase_sent) {
                passphrase = await enterPassphrase(selected);
                if (passphrase == null) throw "Operation is terminated";
            }
        } catch (error) { handleHWIError(error); return null; }
        const again = await enumerate(selected.type, selected.path, passphrase);
        if (again.length == 1) selected = again[0];
        console.log(passphrase);
        if (passphrase != null) selected.passphrase = passphrase;
        console.log(selected);
        return selected;
    }
    async function getConnectedWalletDevices(types = null) { return enumerate(types); }
    async function signTx(type, psbt, fingerprint) {
        const devices = await getConnectedWalletDevices([type]);
        if (devices == null || devices.length == 0) return;
        const device = await selectDevice(devices);
        console.log(device);
        if (device == null) return;
        if (device.fingerprint != fingerprint) { handleHWIError("Selected device does not have matching signing key."); return; }
        try { return await hwi.signTx(device, psbt); } catch (error) { handleHWIError(error); } finally { console.log(device); }
    }
    async function displayAddressOnDevice(types) {
        const devices = await getConnectedWalletDevices(types);
        if (devices == null || devices.length == 0) return;
        await selectDevice(devices);
    }
    async function signMessage(type, message, path) { return hwi.requestToHwiBridge("sign_message", { message, path }); }
    /** A person: chooses a device by its place in the list, and types. */
    async function person(place, ...typed) {
        await page.settle();
        page.buttons = elements["hwi_selector_container"].children.map((one) => one.textContent);
        elements["hwi_selector_container"].children[place].click();
        await page.settle();
        page.heading = elements["hwi_passphrase h2"].textContent;
        for (const text of typed) {
            elements["passphrase-input"].value = text;
            elements["passphrase-submit-btn"].click();
            await page.settle();
        }
    }
`, context);
vm.runInContext(fs.readFileSync(process.argv[2], "utf-8"), context);
const scene = fs.readFileSync(0, "utf-8");
vm.runInContext(`(async () => { ${scene} })()`, context).then((value) => {
    const logged = page.logged.map((one) => util.inspect(one, { depth: 5 }));
    console.log(JSON.stringify({ value: value === undefined ? null : value, ...page, logged, answers: undefined }));
    process.exit(0); // whatever still waits for a person
}, (error) => { console.error(error); process.exit(1); });
