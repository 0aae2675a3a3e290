print("xenprd")
