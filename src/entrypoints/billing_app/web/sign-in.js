// Keep the token for this tab only and go to the page; the ticket in the URL is not needed any more.
const token = document.querySelector('meta[name="billing-token"]').content;
sessionStorage.setItem("billing-token", token);
location.replace("/activity");
