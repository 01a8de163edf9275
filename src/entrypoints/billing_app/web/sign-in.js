// Keep the token for this tab only, and leave: the ticket in this page's address is of no further use.
const token = document.querySelector('meta[name="billing-token"]').content;
sessionStorage.setItem("billing-token", token);
location.replace("/activity");
