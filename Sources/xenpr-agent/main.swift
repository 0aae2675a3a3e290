print("xenpr-agent")
