# Answers one HTTP request on port 8080 and ends.
mkdir -p /tmp/www
echo "from the guest" >/tmp/www/hello
httpd -p 8080 -h /tmp/www
echo listening
sleep 8
