// Your backend knows who is signed in, and issues a short-lived token for that tenant.
const activity = document.querySelector("billing-activity");
await customElements.whenDefined("billing-activity");
activity.token = async ({ refresh }) => (await fetch(`/billing-token${refresh ? "?fresh" : ""}`)).text();
activity.addEventListener("billing-refused", ({ detail: error }) => activity.replaceWith(error.message));
