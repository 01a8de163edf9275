// A proxy that compresses whatever may be compressed, as express and Next.js do: node proxy.js PORT UPSTREAM
const compress = require("compression")({ threshold: 0 });
const http = require("http");

const [port, upstream] = process.argv.slice(2);

function forward(request, response) {
  const { method, headers } = request;
  const forwarded = http.request(upstream + request.url, { method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  forwarded.on("error", () => response.destroy());
  response.on("close", () => forwarded.destroy());
  request.pipe(forwarded);
}

http.createServer((request, response) => compress(request, response, () => forward(request, response))).listen(port, "127.0.0.1");
