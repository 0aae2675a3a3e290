i=0
while :; do
    i=$((i + 1))
    echo "$i $$" >> log
    sleep 0.05
done
